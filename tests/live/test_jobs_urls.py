"""URLs in the asynchronous APIs: forbidden hosts are refused or fail the job, and outputs need signed URLs."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.support.callback_server import PHOTO, callback_server
from tests.support.hostile.urls import PRIVATE_LITERALS, TRICKS
from tests.support.image_server import image_server
from tests.support.live_server import http_client, served

pytestmark = pytest.mark.live

SECRET = b"what only this machine may read"


def apiframe(url, webhook=None):
    body = {"model": "851-bg-remove", "lab851BgRemoveParams": {"image": url}, "webhook_url": webhook}
    return "/v2/images/background-remove", {"json": body}


def bria(url, webhook=None):
    return "/v2/images/background-remove", {
        "json": {"model": "bria-bg-remove", "briaBgRemoveParams": {"image": url}, "webhook_url": webhook}
    }


def eachlabs(url, webhook=None):
    body = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": url}, "webhook_url": webhook}
    return "/v1/prediction/", {"json": body}


def removedo(url, webhook=None):
    return "/api/v1/remove-bg", {"data": {"image_url": url} | ({"webhook_url": webhook} if webhook else {})}


DIALECTS = {"apiframe": apiframe, "bria": bria, "eachlabs": eachlabs, "removedo": removedo}


@pytest.fixture(scope="module")
def callbacks():
    with callback_server() as running:
        yield running


@pytest.fixture(scope="module")
def private_host():
    """Start a local server that is not allow-listed."""
    with image_server({"/": SECRET, "/photo.jpg": PHOTO}) as running:
        yield running


@pytest.fixture(scope="module")
def redirecting_host():
    """Start an allow-listed server that redirects to a forbidden one."""
    with image_server({"/photo.jpg": PHOTO}) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory, callbacks, redirecting_host):
    folder = tmp_path_factory.mktemp("jobs") / "data"
    allow = f"{callbacks.allow},127.0.0.1:{redirecting_host.port}"
    with served(jobs="sqlite", data_dir=str(folder), fetch_allow=allow) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with http_client(server) as talking:
        yield talking


def addresses(port):
    """Return the table, and a local server's own address in many spellings."""
    names = ("127.0.0.1", "127.1", "0x7f000001", "2130706433", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0")
    spellings = [f"{scheme}://{name}:{port}/photo.jpg" for scheme in ("http", "https") for name in names]
    plain = [each for each in TRICKS if each and each == each.strip() and not each.startswith("data:")]
    return [*spellings, *(f"https://{each}/" for each in PRIVATE_LITERALS), *plain]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("which", ["image", "webhook"])
def test_every_forbidden_url_is_refused_by_job_apis(client, callbacks, private_host, dialect, which):
    good = f"{callbacks.base_url}/photo.jpg"
    every = addresses(private_host.port)
    assert len(every) >= 100
    for url in every:
        path, body = DIALECTS[dialect](url) if which == "image" else DIALECTS[dialect](good, url)
        response = client.post(path, **body)
        assert response.status_code == 400, (url, response.status_code, response.text)
        assert ("webhook_url" if which == "webhook" else "image") in response.text, (url, response.text)
        assert response.headers["content-type"] == "application/json"
        assert "jobId" not in response.text
    assert private_host.requests == []
    assert callbacks.calls == []


def finished(client, job_id):
    until = time.monotonic() + 60
    while (body := client.get(f"/v2/jobs/{job_id}").json())["status"] not in ("COMPLETED", "FAILED"):
        assert time.monotonic() < until, body
        time.sleep(0.05)
    return body


def create_job(client, url, webhook=None):
    path, body = apiframe(url, webhook)
    response = client.post(path, **body)
    assert response.status_code == 202, response.text
    return response.json()["jobId"]


@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "https://169.254.169.254/"])
def test_image_redirect_to_private_host_fails_job(client, redirecting_host, private_host, where):
    redirecting_host.responses["/away"] = (302, {"Location": where.format(port=private_host.port)}, b"")
    body = finished(client, create_job(client, redirecting_host.url("/away?token=hidden-token")))
    assert body["status"] == "FAILED"
    assert SECRET.decode() not in str(body)
    assert "hidden" not in str(body)
    assert private_host.requests == []


def test_webhook_redirect_is_not_followed(client, callbacks, redirecting_host, private_host):
    redirecting_host.responses["/hook"] = (307, {"Location": private_host.url("/")}, b"")
    body = finished(client, create_job(client, f"{callbacks.base_url}/photo.jpg", redirecting_host.url("/hook")))
    assert body["status"] == "COMPLETED"
    (call,) = redirecting_host.posts(1)[:1]
    assert call.path == "/hook"
    assert private_host.requests == []


def test_output_needs_signed_url(server, client, callbacks):
    body = finished(client, create_job(client, f"{callbacks.base_url}/photo.jpg"))
    (url,) = [word for word in str(body).split("'") if "/outputs/" in word][:1]
    all_urls = client.get(url)
    assert all_urls.status_code == 200
    assert all_urls.content[:8] == b"\x89PNG\r\n\x1a\n"
    part = client.get(url, headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert client.get(url, headers={"if-none-match": all_urls.headers["etag"]}).status_code == 304
    head = client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(all_urls.content)))
    assert client.get(url.replace("signature=", "signature=x")).status_code == 403
    assert client.get(url.partition("?")[0]).status_code == 403
    key = httpx.URL(url).path.rpartition("/")[2]
    other = key.replace(key[0], "0" if key[0] != "0" else "1", 1)
    assert client.get(url.replace(key, other)).status_code == 403
    log = str(server.log)
    assert httpx.URL(url).params["signature"] not in log
    assert key not in log
    assert "hidden" not in log
