"""The page at ``/``: content negotiation, caching, security headers, path prefix and the off switch."""

import re

import pytest

from clearcut.imaging.formats.registry import IMAGE_WRITERS, WRITERS
from tests.support.fakes import on_stage

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def get(path, headers=HTML, **environ):
    async def scenario(on):
        return await on.client.get(path, headers=headers)

    return on_stage(scenario, start=False, **environ)


def test_browser_gets_page():
    response = get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["vary"] == "Accept"
    for name in ("file-input", "result", "download"):
        assert f'data-testid="{name}"' in response.text
    assert "{{" not in response.text
    formats = re.findall(
        r'name="format" value="(\w+)" data-max-side="(\d+)"(?: data-max-pixels="(\d+)")?', response.text
    )
    limits = {name: (int(side), int(pixels) if pixels else None) for name, side, pixels in formats}
    assert limits == {name: (WRITERS[name].max_side, WRITERS[name].max_pixels) for name in IMAGE_WRITERS}


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0", "image/*, */*;q=0.5", "text/htmlx"])
def test_other_clients_get_json_404(accept):
    response = get("/", {"accept": accept})
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert response.json()["details"] == get("/missing").json()["details"]


def test_page_can_be_turned_off():
    for path in ("/", "/playground/main.js", "/playground/style.css", "/playground/example.jpg"):
        response = get(path, playground="off")
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"
        assert path not in get("/openapi.json", playground="off").json()["paths"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/playground/main.js", "text/javascript; charset=utf-8"),
        ("/playground/style.css", "text/css; charset=utf-8"),
        ("/playground/example.jpg", "image/jpeg"),
    ],
)
def test_assets_have_type_and_etag(path, kind):
    response = get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == kind
    assert response.headers["x-content-type-options"] == "nosniff"
    assert len(response.content) < 60_000
    for tag in (response.headers["etag"], f"W/{response.headers['etag']}", f'"other", {response.headers["etag"]}'):
        again = get(path, {"if-none-match": tag})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == response.headers["etag"]
    assert get(path, {"if-none-match": '"other"'}).status_code == 200


def test_page_is_revalidated():
    response = get("/")
    assert response.headers["cache-control"] == "no-cache"
    assert get("/", HTML | {"if-none-match": response.headers["etag"]}).status_code == 304


def test_policy_allows_only_own_files():
    policy = dict(part.split(" ", 1) for part in get("/").headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in " ".join(policy.values())


def test_page_has_no_inline_code():
    html = get("/").text
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html) == [""]


def test_page_works_under_path_prefix():
    html = get("/").text
    links = [link for link in re.findall(r'(?:src|href)="([^"]+)"', html) if not link.startswith("data:")]
    assert "playground/main.js" in links
    assert not [link for link in links if link.startswith("/") or "//" in link]
    script = get("/playground/main.js").text
    assert not re.search(r"""["'`](?:https?:)?//?\w""", script)


def test_page_states_limits_and_accounts(tmp_path):
    assert 'data-accounts="off"' in get("/").text
    assert f'data-max-bytes="{20 * 1024 * 1024}"' in get("/").text
    database = {"database_url": f"sqlite:///{tmp_path}/keys.db"}
    assert 'data-accounts="required"' in get("/", **database).text
    assert 'data-accounts="optional"' in get("/", **database, allow_anonymous="true").text
