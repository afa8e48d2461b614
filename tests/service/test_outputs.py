"""Outputs by signed URL: whole or in ranges, until the URL expires."""

import os
import re
import time
from urllib.parse import urlsplit

import pytest

from clearcut.storage.local import FolderBlobs
from clearcut.storage.signed_urls import OutputLinks, sign_url
from clearcut.web.output_files import byte_range
from tests.support.fakes import Stage, on_stage

SECRETS = (b"a secret of at least sixteen",)
DATA = os.urandom(700_000)
KEY = "job1.png"


def with_output(tmp_path, scenario, **environ):
    async def run(on: Stage):
        store = FolderBlobs(tmp_path, 10_000_000)
        store.put(KEY, DATA, "image/png", time.time() + 3600)
        on.service.outputs = OutputLinks(store, SECRETS)
        return await scenario(on, sign_url("", KEY, time.time() + 3600, SECRETS))

    return on_stage(run, **environ)


def get(tmp_path, method="GET", change=lambda url: url, **headers):
    async def scenario(on: Stage, url):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await on.client.request(method, change(url), headers=named)

    return with_output(tmp_path, scenario)


def refusal(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json()["code"] == code
    assert response.json()["request_id"] == response.headers["x-request-id"]
    return response


def test_whole_output_and_headers(tmp_path):
    response = get(tmp_path)
    assert response.status_code == 200
    assert response.content == DATA
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-length"] == str(len(DATA))
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-disposition"] == 'inline; filename="cutout.png"'
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert re.fullmatch(r'"[0-9a-f]{32}"', headers["etag"])
    assert re.fullmatch(r"private, max-age=3[56]\d\d", headers["cache-control"])
    assert headers.get_list("cache-control") == [headers["cache-control"]]


def test_head_has_same_headers(tmp_path):
    whole, head = get(tmp_path), get(tmp_path, "HEAD")
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "etag", "accept-ranges", "content-disposition"):
        assert head.headers[name] == whole.headers[name]
    part = get(tmp_path, "HEAD", range="bytes=0-9")
    assert (part.status_code, part.headers["content-length"]) == (206, "10")


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("Bytes = 5 - 9", 5, 10),
        ("bytes=100-", 100, len(DATA)), ("bytes=-7", len(DATA) - 7, len(DATA)),
        ("bytes=0-99999999", 0, len(DATA)), ("bytes=-99999999", 0, len(DATA)),
    ],
)  # fmt: skip
def test_range_returns_part(tmp_path, header, start, end):
    response = get(tmp_path, range=header)
    assert response.status_code == 206
    assert response.content == DATA[start:end]
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert response.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "header", ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes=a-b", "items=0-1", "bytes", "", "bytes=1-2x"]
)
def test_invalid_range_returns_whole(tmp_path, header):
    response = get(tmp_path, range=header)
    assert (response.status_code, len(response.content)) == (200, len(DATA))


@pytest.mark.parametrize("header", [f"bytes={len(DATA)}-", "bytes=-0", "bytes=999999999999-"])
def test_range_beyond_end_is_416(tmp_path, header):
    response = refusal(get(tmp_path, range=header), 416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(DATA)}"


def test_empty_file_has_no_range():
    assert byte_range("", 0) is None


def test_if_none_match_is_304(tmp_path):
    etag = get(tmp_path).headers["etag"]
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = get(tmp_path, if_none_match=header)
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag
    assert get(tmp_path, if_none_match='"other"').status_code == 200


def test_if_range_of_other_version_returns_whole(tmp_path):
    etag = get(tmp_path).headers["etag"]
    assert get(tmp_path, range="bytes=0-9", if_range=etag).status_code == 206
    assert get(tmp_path, range="bytes=0-9", if_range='"other"').status_code == 200
    assert get(tmp_path, range="bytes=0-9", if_range=f"W/{etag}").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("signature=", "signature=A"),
        lambda url: url[:-1] + ("A" if url[-1] != "A" else "B"),
        lambda url: re.sub("expires=[0-9]+", "expires=9999999999", url),
        lambda url: url.replace(KEY, "job2.png"),
        lambda url: urlsplit(url).path,
        lambda url: url.replace("signature", "sig"),
        lambda url: url.replace("expires", "expires=1&x"),
        lambda url: url.replace(KEY, "%2e%2e%2fsigning-secret"),
    ],
)
def test_unsigned_url_is_refused(tmp_path, change):
    response = get(tmp_path, change=change)
    assert response.status_code in (403, 404)
    if "%2f" not in str(response.request.url):
        refusal(response, 403, "permission_denied")


def test_expired_url_is_410(tmp_path):
    past = sign_url("", KEY, time.time() - 1, SECRETS)
    refusal(get(tmp_path, change=lambda _: past), 410, "gone")


def test_deleted_output_is_404(tmp_path):
    other = sign_url("", "job2.png", time.time() + 60, SECRETS)
    refusal(get(tmp_path, change=lambda _: other), 404, "not_found")
    malformed = sign_url("", "~job2.png", time.time() + 60, SECRETS)
    refusal(get(tmp_path, change=lambda _: malformed), 404, "not_found")


def test_service_without_outputs_is_404():
    async def scenario(on: Stage):
        return await on.client.get(sign_url("", KEY, time.time() + 60, SECRETS))

    refusal(on_stage(scenario), 404, "not_found")


def test_download_limit_leaves_request_slots_free(tmp_path):
    async def scenario(on: Stage, url):
        with on.service.downloads.enter():
            assert on.service.slots.used == 0
            return await on.client.get(url)

    response = refusal(with_output(tmp_path, scenario, slots="1"), 503, "service_unavailable")
    assert int(response.headers["retry-after"]) >= 1


def test_signatures_are_not_logged(tmp_path, caplog):
    caplog.set_level("DEBUG", "clearcut")
    assert get(tmp_path).status_code == 200
    assert any(getattr(record, "fields", {}).get("route") == "/outputs/{key}" for record in caplog.records)
    log = "".join(repr(vars(record)) for record in caplog.records)
    assert "signature" not in log
    assert KEY not in log
