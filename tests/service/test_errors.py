"""Errors have the dialect's JSON body, the request id, and a text with the field and the fix."""

import asyncio
import io
import json

import pytest
from PIL import Image

from clearcut.errors import ClearcutError
from clearcut.web.error_response import UNREAD_BODIES
from tests.support import samples
from tests.support.asgi import PNG, chunk, send_messages
from tests.support.cutouts import sample_image
from tests.support.fakes import Stage, on_stage, until


def ask(method="POST", path="/v1/remove", start=True, environ=None, **kwargs):
    async def scenario(on):
        return await on.client.request(method, path, **kwargs)

    return on_stage(scenario, start=start, **(environ or {}))


def icon():
    out = io.BytesIO()
    Image.fromarray(samples.corners(32, 32)).save(out, "ICO")
    return out.getvalue()


def form(content=None, **fields):
    return {"files": {"image_file": ("a.png", content if content is not None else sample_image())}, "data": fields}


TWO_FILES = [("file", ("a", sample_image())), ("image", ("b", sample_image()))]
CASES = {
    "bad option": (form(format="gif"), 400, "validation_error", "'format'. Expected: png, jpg, webp"),
    "bad crop": (form(crop="yes"), 400, "validation_error", "'crop'"),
    "no file": ({"data": {"size": "small"}, "files": {"x": ("", b"")}}, 400, "missing_image", "image_file"),
    "json body": ({"json": {"size": "small"}}, 400, "missing_image", "application/json"),
    "url in json body": ({"json": {"url": "x"}}, 400, "validation_error", "no value, because URLs are disabled"),
    "empty file": (form(b""), 400, "missing_image", "empty"),
    "two files": ({"files": TWO_FILES}, 400, "validation_error", "one"),
    "icon": (form(icon()), 400, "validation_error", "ICO"),
    "text": (form(b"hello, this is no image at all"), 400, "validation_error", "JPEG, PNG, TIFF, WebP"),
    "truncated": (form(sample_image()[:-40]), 400, "validation_error", "image_file"),
    "too many bytes": (form(b"\x89PNG\r\n\x1a\n" + bytes(200_000)), 400, "image_too_large", "CLEARCUT_MAX_BYTES"),
    "too many pixels": (form(sample_image(1200, 1000)), 400, "image_too_large", "CLEARCUT_MAX_MEGAPIXELS"),
    "text instead of a file": ({"data": {"image_file": "photo.jpg"}, "files": {"x": ("", b"")}},
                               400, "validation_error", "Did you forget @"),
    "several bad options": (form(format="gif", crop="yes", size="huge"), 400, "validation_error",
                            "4:3, 16:9. Invalid value for 'size'. Expected: full"),
    "size in pixels": (form(size="500"), 400, "validation_error", "hd; for an exact size, use width and height"),
    "width x height": (form(size="800x600"), 400, "validation_error", "hd; for an exact size, use width and height"),
    "ratio with x": (form(crop="1x1"), 400, "validation_error", "4:3, 16:9; write 1:1 instead of 1x1"),
    "large shadow": (form(shadow="2"), 400, "validation_error", "Expected: true, false, or a number from 0 to 1"),
    "empty request": ({}, 400, "missing_image", "body is empty. Send multipart/form-data"),
    "empty image body": ({"headers": {"content-type": "image/png"}}, 400, "missing_image", "empty. Send multipart"),
    "url": (form(url="https://example.com/a.jpg"), 400, "validation_error", "'url'"),
    "malformed": ({"content": b"--a\r\nnope", "headers": {"content-type": "multipart/form-data; boundary=a"}},
                  400, "validation_error", "multipart"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_invalid_requests(case):
    request, status, code, text = CASES[case]
    response = ask(environ={"max_bytes": "100000", "max_megapixels": "1"}, **request)
    body = response.json()
    assert response.status_code == status
    assert body["code"] == code
    assert text in body["details"]
    assert body["message"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-processing-time-ms"].isdigit()
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["bg_image", "mask"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(110_000), "Maximum file size of '{}' is 100000 bytes"),
        (sample_image(1200, 1000), "The image in '{}' has 1.20 megapixels"),
    ],
    ids=["bytes", "pixels"],
)
def test_error_names_the_field_of_a_large_file(name, content, text):
    files = {"image_file": ("a.png", sample_image()), name: ("b.png", content)}
    response = ask(environ={"max_bytes": "100000", "max_megapixels": "1"}, files=files)
    assert (response.status_code, response.json()["code"]) == (400, "image_too_large")
    assert text.format(name) in response.json()["details"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/remove", 405, "method_not_allowed"),
        ("DELETE", "/v1/remove", 405, "method_not_allowed"),
        ("POST", "/readyz", 405, "method_not_allowed"),
    ],
)
def test_unknown_routes_and_wrong_methods(method, path, status, code):
    response = ask(method, path)
    assert response.status_code == status
    assert response.json()["code"] == code
    assert status == 405 or "/docs" in response.json()["details"]
    assert response.json()["request_id"].startswith("req_")
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "nearest"),
    [("/remove", "/v1/remove"), ("/v1/removebg", "/v1/remove-bg"), ("/v1/segmnet", "/v1/segment"), ("/xyz" * 999, "")],
)
def test_unknown_path_of_post_suggests_the_nearest(path, nearest):
    response = ask("POST", path)
    text = response.text
    assert response.status_code == 404
    assert (f"did you mean {nearest}? Otherwise, open /" in text) is bool(nearest)
    assert ("did you mean" in text) is bool(nearest)
    assert "did you mean" not in ask("GET", path).text


@pytest.mark.parametrize(("playground", "named"), [("true", True), ("false", False)])
def test_unknown_route_names_page_and_api(playground, named):
    details = ask("GET", "/nothing", environ={"playground": playground}).json()["details"]
    assert "/docs for the API" in details
    assert ("/ for the page" in details) is named


def test_starting_service_is_alive_and_not_ready():
    async def scenario(on):
        return [await on.client.get("/livez"), await on.client.get("/readyz"), await on.post(sample_image())]

    livez, readyz, remove = on_stage(scenario, start=False)
    assert livez.status_code == 200
    assert readyz.status_code == 503
    assert remove.status_code == 503
    assert remove.json()["code"] == "service_unavailable"
    assert int(remove.headers["retry-after"]) >= 1


def test_full_service_is_503_and_recovers():
    async def scenario(on: Stage):
        on.engine.gate.clear()
        first = asyncio.create_task(on.post(sample_image()))
        await asyncio.to_thread(on.engine.entered.wait, 10)
        refused = await on.post(sample_image())
        on.engine.gate.set()
        return refused, await first, await on.post(sample_image())

    refused, first, after = on_stage(scenario, slots="1")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "slots" in refused.json()["details"]
    assert first.status_code == after.status_code == 200


@pytest.mark.parametrize("path", ["/v1/remove", "/v1/remove/", "/v1.0/removebg", "/api/remove", "/v1/segment"])
def test_full_service_refuses_without_reading_body(path):
    async def scenario(on: Stage):
        on.service.slots.used = on.service.slots.capacity
        sent = await send_messages(on, [chunk(b"", more=False)], [PNG, (b"x-request-id", b"mine")], path)
        on.service.slots.used = 0
        return sent, (await on.client.get("/metrics")).text

    (start, body, *_), metrics = on_stage(scenario)
    headers = dict(start["headers"])
    assert start["status"] == 503
    assert int(headers[b"retry-after"]) >= 1
    assert headers[b"x-request-id"] == b"mine"
    assert "slots" in body["body"].decode()
    route = path.removesuffix("/")
    assert f'{{code="service_unavailable",format="none",route="{route}",status="503"}} 1.0' in metrics
    assert 'clearcut_rejected_total{reason="overloaded"} 1.0' in metrics


@pytest.mark.parametrize(("method", "path", "status"), [("PUT", "/v1/remove", 405), ("POST", "/v1/nowhere", 404)])
def test_full_service_still_names_wrong_routes(method, path, status):
    async def scenario(on: Stage):
        on.service.slots.used = on.service.slots.capacity
        response = await on.client.request(method, path, content=b"x")
        on.service.slots.used = 0
        return response

    assert on_stage(scenario).status_code == status


def test_full_service_checks_key_first(tmp_path):
    async def scenario(on: Stage):
        on.service.slots.used = on.service.slots.capacity
        response = await on.post(sample_image())
        on.service.slots.used = 0
        return response

    assert on_stage(scenario, database_url=f"sqlite:///{tmp_path}/accounts.db").status_code == 401


def test_deadline_is_504_and_names_stage():
    async def scenario(on: Stage):
        on.engine.gate.clear()
        return await on.post(sample_image())

    response = on_stage(scenario, deadline_s="0.3")
    assert response.status_code == 504
    assert response.json()["code"] == "deadline_exceeded"
    assert "stage" in response.json()["details"]


def test_model_failure_is_500_without_its_text():
    async def scenario(on: Stage):
        on.engine.fault = RuntimeError("internal path /secret")
        failed = await on.post(sample_image())
        on.engine.fault = None
        return failed, await on.post(sample_image()), await on.client.get("/livez")

    failed, after, livez = on_stage(scenario)
    assert failed.status_code == 500
    assert failed.json()["code"] == "internal_server_error"
    assert "secret" not in failed.text
    assert after.status_code == livez.status_code == 200


def test_dead_inference_thread_fails_liveness():
    async def scenario(on: Stage):
        on.engine.fault = SystemExit()
        failed = await on.post(sample_image())
        await until(lambda: on.service.failed.is_set())
        return failed, await on.post(sample_image()), await on.client.get("/livez"), await on.client.get("/readyz")

    for response in on_stage(scenario):
        assert response.status_code == 503


def test_hanging_model_run_fails_service():
    async def scenario(on: Stage):
        on.engine.gate.clear()
        response = await on.post(sample_image())
        return response, on.service.failed.is_set(), await on.client.get("/livez")

    response, failed, livez = on_stage(scenario, watchdog_s="0.1")
    assert response.status_code == 503
    assert failed
    assert livez.status_code == 503


def test_disconnect_during_upload_has_no_response():
    async def scenario(on: Stage):
        sent = await send_messages(on, [chunk(sample_image()[:50]), {"type": "http.disconnect"}], [PNG])
        return sent, on.service.slots.used, on.service.metrics.render("")[0].decode()

    sent, used, metrics = on_stage(scenario)
    assert sent == []
    assert used == 0
    assert 'clearcut_cancelled_total{stage="read"} 1.0' in metrics
    assert 'status="499"' in metrics


def test_disconnect_during_processing_frees_slot():
    async def scenario(on: Stage):
        on.engine.gate.clear()

        async def leaves():
            await asyncio.to_thread(on.engine.entered.wait, 10)
            return {"type": "http.disconnect"}

        sent = await send_messages(on, [chunk(sample_image(), more=False), leaves], [PNG])
        used = on.service.slots.used, on.service.pixels.used
        on.engine.gate.set()
        return sent, used, await on.post(sample_image())

    sent, used, after = on_stage(scenario, slots="1")
    assert sent == []
    assert used == (0, 0)
    assert after.status_code == 200


def test_stalled_body_is_408():
    async def scenario(on: Stage):
        headers = [PNG, (b"content-length", b"900"), (b"expect", b"100-continue")]
        return await send_messages(on, [chunk(sample_image()[:50])], headers)

    sent = on_stage(scenario, body_stall_s="0.05")
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "upload_timeout"
    assert (b"connection", b"close") in sent[0]["headers"]


def test_server_that_drops_bodies_keeps_connection():
    async def scenario(on: Stage):
        headers = [(b"content-type", b"image/png"), (b"content-length", b"10000")]
        return await send_messages(on, [], headers, extensions={UNREAD_BODIES: {}})

    start, body = on_stage(scenario, max_bytes="5000")
    assert start["status"] == 400
    assert b"connection" not in dict(start["headers"])
    assert body["more_body"] is False


def test_log_line_of_refused_upload_has_its_size(caplog):
    async def scenario(on: Stage):
        headers = [(b"content-type", b"image/png"), (b"content-length", b"10000")]
        with caplog.at_level("INFO", "clearcut"):
            await send_messages(on, [], headers, extensions={UNREAD_BODIES: {}})

    on_stage(scenario, max_bytes="5000")
    (line,) = (record.fields for record in caplog.records if record.getMessage() == "request")
    assert (line["status"], line["bytes_in"]) == (400, 10_000)


def test_refused_upload_is_read_to_the_end():
    taken = []

    async def scenario(on: Stage):
        def piece(number):
            async def arrive():
                taken.append(number)
                return chunk(b"x" * 1000, more=number < 9)

            return arrive

        headers = [(b"content-type", b"image/png"), (b"content-length", b"10000")]
        return await send_messages(on, [piece(number) for number in range(10)], headers)

    sent = on_stage(scenario, max_bytes="5000")
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["code"] == "image_too_large"
    assert sent[1]["more_body"]
    assert not sent[-1]["more_body"]
    assert taken == list(range(10))


def test_error_is_sent_instead_of_100_continue():
    async def scenario(on: Stage):
        async def never():
            pytest.fail("the body was asked for")

        headers = [(b"content-type", b"image/png"), (b"content-length", b"10000"), (b"expect", b"100-continue")]
        return await send_messages(on, [never], headers)

    assert on_stage(scenario, max_bytes="5000")[0]["status"] == 400


def test_error_classes_have_distinct_reasons():
    def classes(of):
        for each in of.__subclasses__():
            yield each
            yield from classes(each)

    every = list(classes(ClearcutError))
    assert len({each.reason for each in every if "reason" in vars(each)}) == sum(
        "reason" in vars(each) for each in every
    )
    for each in every:
        assert 400 <= each.status <= 504
        assert each.code
        assert each.message
