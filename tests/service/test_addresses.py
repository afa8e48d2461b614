"""Images by URL on the synchronous routes: same pixels as uploads; errors in each dialect's form."""

import asyncio
import socket
import sys

import numpy as np
import pytest

from clearcut.accounts.keys import Quotas
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.environment import load_settings
from clearcut.errors import StartupError
from clearcut.storage.factory import blob_store
from tests.support.cutouts import decoded, sample_image
from tests.support.fakes import Stage, on_stage, until
from tests.support.image_server import image_server

REMOVE, REMOVEBG, REMBG, PHOTOROOM = "/v1/remove", "/v1.0/removebg", "/api/remove", "/v1/segment"
FIELDS = {REMOVE: "image_url", REMOVEBG: "image_url", REMBG: "url", PHOTOROOM: "image_url"}
BACKGROUND = (10, 200, 30)


@pytest.fixture(scope="module")
def images():
    with image_server(
        {"/a.png": sample_image(), "/background.png": sample_image(background=BACKGROUND), "/page": b"<html>"}
    ) as running:
        running.responses["/away"] = (302, {"Location": "/a.png"}, b"")
        running.responses["/inside"] = (302, {"Location": "https://169.254.169.254/latest/meta-data/"}, b"")
        running.responses["/large"] = (200, {}, b"x" * 70_000)
        yield running


def ask(images, path, method="POST", environ=None, **kwargs):
    async def scenario(on: Stage):
        return await on.client.request(method, path, **kwargs)

    urls = {"fetch": "on", "fetch_allow": f"127.0.0.1:{images.port}"}
    return on_stage(scenario, **urls | (environ or {}))


def form(**fields):
    """Make a multipart form of text fields."""
    return {"files": {name: (None, value) for name, value in fields.items()}}


def uploaded(path, **data):
    async def scenario(on: Stage):
        files = {"file" if path == REMBG else "image_file": ("a.png", sample_image(), "image/png")}
        return await on.client.post(path, files=files, data=data)

    return on_stage(scenario)


@pytest.mark.parametrize("path", FIELDS)
def test_url_gives_same_pixels_as_upload(images, path):
    response = ask(images, path, **form(**{FIELDS[path]: images.url("/away?token=1")}))
    assert response.status_code == 200, response.text
    assert np.array_equal(decoded(response), decoded(uploaded(path)))
    assert "fetch;dur=" in response.headers["server-timing"]
    assert "x-ignored-fields" not in response.headers


@pytest.mark.parametrize("body", ["form", "json", "query", "multipart"])
@pytest.mark.parametrize("name", ["url", "image_url"])
def test_poof_accepts_url_fields_in_all_bodies(images, name, body):
    fields = {name: images.url("/a.png"), "format": "webp"}
    kwargs = {
        "form": {"data": fields},
        "json": {"json": fields},
        "query": {"params": fields},
        "multipart": form(**fields),
    }
    response = ask(images, REMOVE, **kwargs[body])
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/webp"


@pytest.mark.parametrize("kwargs", ["data", "json"])
def test_removebg_accepts_url_as_documented(images, kwargs):
    response = ask(images, REMOVEBG, **{kwargs: {"image_url": images.url("/a.png"), "size": "auto"}})
    assert response.status_code == 200, response.text


def test_rembg_accepts_url_by_get(images):
    response = ask(images, REMBG, "GET", params={"url": images.url("/a.png"), "om": "true"})
    assert response.status_code == 200, response.text
    assert decoded(response).ndim == 2


def test_slow_urls_of_one_caller_leave_slots_for_others():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never responds
        port = silent.getsockname()[1]

        async def scenario(on: Stage):
            body = {"image_url": f"http://127.0.0.1:{port}/a.png"}
            slow = [asyncio.create_task(on.client.post(REMOVE, json=body)) for _ in range(8)]
            await until(lambda: sum(task.done() for task in slow) >= 2)
            upload = await on.client.post(REMOVE, content=sample_image(), headers={"Content-Type": "image/png"})
            return upload.status_code, [(await task).status_code for task in slow]

        environ = {"fetch": "on", "fetch_allow": f"127.0.0.1:{port}", "fetch_timeout_s": "3", "slots": "8"}
        status, slow = on_stage(scenario, **environ)
    assert status == 200
    assert sorted(slow) == 6 * [400] + 2 * [503]


@pytest.mark.parametrize("path", [REMOVE, REMOVEBG])
def test_background_image_by_url(images, path):
    response = ask(images, path, **form(image_url=images.url("/a.png"), bg_image_url=images.url("/background.png")))
    assert response.status_code == 200, response.text
    assert tuple(decoded(response)[2, 2][:3]) == BACKGROUND


def refused(response, path, status, words):
    assert response.status_code == status, response.text
    body = response.json()
    if path == REMOVEBG:
        (error,) = body["errors"]
        text = error["detail"]
    else:
        text = body["details"] if path == REMOVE else body["detail"]
    assert words in text, text
    return body


@pytest.mark.parametrize("path", FIELDS)
def test_disabled_urls_name_the_setting(images, path):
    before = len(images.requests)
    environ = {"fetch": "off"}
    fields = {FIELDS[path]: images.url("/a.png")}
    for body in (form(**fields), {"json": fields}, {"data": fields}):
        response = ask(images, path, environ=environ, **body)
        refused(response, path, 422 if path == REMBG else 400, "set CLEARCUT_FETCH=true on the server")
        refused(response, path, 422 if path == REMBG else 400, f"'{FIELDS[path]}'")
    if path == REMBG:
        response = ask(images, path, "GET", environ=environ, params={"url": images.url("/a.png")})
        refused(response, path, 422, "CLEARCUT_FETCH")
    assert len(images.requests) == before


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/a.png", "http://[::ffff:7f00:1]/", "https://2130706433/", "https://user:hunter2@example.com/"],
)
def test_refused_url_names_field(images, path, url):
    response = ask(images, path, **form(**{FIELDS[path]: url}))
    body = refused(response, path, 422 if path == REMBG else 400, f"'{FIELDS[path]}'")
    assert "hunter2" not in response.text
    if path == REMOVEBG:
        assert body["errors"][0]["code"] == "invalid_image_url"


@pytest.mark.parametrize(
    ("target", "words", "code"),
    [
        ("/none", "the server returned 404", "failed_image_download"),
        ("/inside", "a host with a public IP address", "invalid_image_url"),
        ("/page", "detected HTML", "invalid_file_type"),
        ("/large", "Maximum file size is 65536 bytes", "file_too_large"),
    ],
)
def test_failed_fetch_names_field(images, target, words, code):
    environ = {"max_bytes": "65536"}
    for path in (REMOVE, REMOVEBG):
        response = ask(images, path, environ=environ, **form(image_url=images.url(target)))
        body = refused(response, path, 400, words)
    assert body["errors"][0]["code"] == code
    if target == "/page":
        assert "'image_url'" in body["errors"][0]["detail"]


def test_failed_background_names_its_field(images):
    fields = {"image_url": images.url("/a.png"), "bg_image_url": images.url("/none")}
    body = refused(ask(images, REMOVEBG, **form(**fields)), REMOVEBG, 400, "'bg_image_url'")
    assert body["errors"][0]["code"] == "failed_bg_download"
    fields["bg_image_url"] = images.url("/page")
    refused(ask(images, REMOVEBG, **form(**fields)), REMOVEBG, 400, "'bg_image_url'")


def test_one_source_per_image(images):
    files = {"image_file": ("a.png", sample_image(), "image/png")}
    url = images.url("/a.png")
    body = refused(ask(images, REMOVE, files=files, data={"image_url": url}), REMOVE, 400, "'image_url'")
    assert "'image_file'" in body["details"]
    refused(ask(images, REMOVE, **form(image_url=url, url=url)), REMOVE, 400, "More than one image")
    body = refused(ask(images, REMOVEBG, files=files, data={"image_url": url}), REMOVEBG, 400, "image_url")
    assert body["errors"][0]["code"] == "multiple_sources"
    fields = form(image_url=url, bg_image_url=url, bg_color="red")
    body = refused(ask(images, REMOVEBG, **fields), REMOVEBG, 400, "bg_color")
    assert body["errors"][0]["code"] == "multiple_bg_sources"


def test_empty_file_beside_url_is_ignored(images):
    files = {"image_file": ("", b"", "application/octet-stream")}
    assert ask(images, REMOVEBG, files=files, data={"image_url": images.url("/a.png")}).status_code == 200


def test_fetch_ends_at_request_deadline(images):
    async def scenario(on: Stage):
        async def forever(url, *, role, max_bytes=None):
            await on.service.failed.wait()

        on.service.fetcher.get = forever
        return await on.client.post(REMOVE, **form(image_url="https://example.com/"))

    response = on_stage(scenario, fetch="on", deadline_s="0.3")
    assert response.status_code == 504
    assert "'fetch'" in response.json()["details"]


def test_urls_are_not_logged(images, caplog):
    caplog.set_level("DEBUG", "clearcut")
    for url in (images.url("/a.png?token=hidden"), "https://u:hidden@example.com/", images.url("/hidden")):
        ask(images, REMOVE, **form(image_url=url))
    text = "".join(repr(vars(record)) for record in caplog.records)
    assert "'fetched'" in text
    assert "hidden" not in text


def test_retry_and_missing_credits_do_not_fetch(images, tmp_path):
    """An Idempotency-Key identifies the URL, even if the image at the URL has changed."""
    database = f"sqlite:///{tmp_path}/accounts.db"
    ledger = Ledger(open_engine(database, 1), 70)
    key = ledger.create("shop", "prepaid", 2, Quotas())
    ledger.close()
    images.responses["/changing.png"] = (200, {}, sample_image())
    url = images.url("/changing.png")

    async def scenario(on: Stage):
        async def ask(order, where=url):
            headers = {"x-api-key": key, "idempotency-key": order}
            answer = await on.client.post(REMOVE, **form(image_url=where), headers=headers)
            await until(lambda: on.service.accounts.request_charges.unsettled == 0)
            return answer

        first = await ask("one")
        images.responses["/changing.png"] = (404, {}, b"")
        again = await ask("one")
        other = await ask("one", images.url("/a.png"))
        failed = await ask("two")
        images.responses["/changing.png"] = (200, {}, sample_image())
        last = await ask("two")
        heard = len(images.requests)
        spent = await ask("three")
        return first, again, other, failed, last, spent, len(images.requests) - heard

    environ = {"fetch": "on", "fetch_allow": f"127.0.0.1:{images.port}", "database_url": database}
    first, again, other, failed, last, spent, requests = on_stage(scenario, **environ)
    assert (first.status_code, first.headers["x-credits-charged"]) == (200, "1")
    assert again.content == first.content
    assert (again.headers["idempotent-replayed"], again.headers["x-credits-charged"]) == ("true", "0")
    assert (other.status_code, "Idempotency-Key" in other.text) == (400, True)
    assert failed.status_code == 400
    assert (last.status_code, last.headers["x-credits-charged"]) == (200, "1")
    assert (spent.status_code, requests) == (402, 0)


def test_missing_packages_prevent_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "clearcut.fetch.client", None)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StartupError, match=r"CLEARCUT_FETCH: the 'jobs' extra is not installed"):
        on_stage(None, fetch="on")
    with pytest.raises(StartupError, match=r"CLEARCUT_BLOBS: the 's3' extra is not installed"):
        blob_store(load_settings({"CLEARCUT_BLOBS": "s3://bucket/prefix"}))


def test_invalid_fetch_list_prevents_start():
    with pytest.raises(StartupError, match="CLEARCUT_FETCH_DENY"):
        on_stage(None, fetch_deny="http://")
