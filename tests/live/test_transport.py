"""HTTP on sockets: forms and raw bodies, and bodies that are too large, late, malformed or cancelled."""

from __future__ import annotations

import http.client
import io
import shutil
import subprocess
import uuid

import numpy as np
import pytest
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from tests.support import samples
from tests.support.live_server import served
from tests.support.metrics import metric, wait_for_metric
from tests.support.raw_http import RawConnection, multipart, request

pytestmark = pytest.mark.live

LARGE = 30_000_000
"""Size in bytes: one and a half times the limit."""
CHUNKED = b"POST /v1/remove HTTP/1.1\r\nHost: clearcut\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def photo():
    return samples.photo("coffee", 240, 160)


@pytest.fixture(scope="module")
def png(photo):
    return samples.png(photo)


def size_of(response):
    assert response.status == 200, response.body[:300]
    return Image.open(io.BytesIO(response.body)).size


@pytest.fixture
def connection(server):
    with RawConnection(server.port) as connection:
        yield connection


def too_large(response):
    error = response.error()
    assert (response.status, error["code"]) == (400, "image_too_large")
    assert error["details"] == "Maximum file size is 20 MiB (server setting CLEARCUT_MAX_BYTES)"


# --- ways to send an image -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["image_file", "file", "image"])
def test_form_accepts_three_file_field_names(connection, png, name):
    body, kind = multipart(png, {"size": "full", "crop": ""}, name=name)
    connection.send(request(body, kind))
    assert size_of(connection.read_response()) == (240, 160)


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/*", "application/octet-stream"])
def test_raw_body_accepts_any_image_content_type(connection, png, kind):
    connection.send(request(png, kind, "/v1/remove?width=120"))
    assert size_of(connection.read_response()) == (120, 80)


def test_chunked_body_is_accepted(connection, png):
    connection.send(CHUNKED)
    for at in range(0, len(png), 10_000):
        part = png[at : at + 10_000]
        connection.send(b"%x\r\n%s\r\n" % (len(part), part))
    connection.send(b"0\r\n\r\n")
    assert size_of(connection.read_response()) == (240, 160)


def test_slow_body_is_accepted(connection, png):
    message = request(*multipart(png))
    step = len(message) // 50
    for at in range(0, len(message), step):
        connection.send(message[at : at + step])
    assert size_of(connection.read_response()) == (240, 160)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_lines_of_readme(server, png, photo, tmp_path):
    source, result = tmp_path / "photo.png", tmp_path / "cutout.png"
    source.write_bytes(png)
    command = ["curl", "-sS", "--fail-with-body", "-F", f"image_file=@{source}", f"{server.base_url}/v1/remove"]
    subprocess.run([*command, "-o", str(result)], check=True, timeout=60)
    rgba = np.asarray(Image.open(result))
    assert np.array_equal(rgba[rgba[..., 3] == 255][:, :3], photo[rgba[..., 3] == 255])


# --- too large -------------------------------------------------------------------------------------------------------


def test_too_large_body_is_refused_before_100_continue(connection):
    connection.send(request(b"", "image/jpeg", length=LARGE, Expect="100-continue"))
    too_large(connection.read_response())
    assert connection.closed_by_server()


def test_100_continue_is_sent_for_allowed_size(connection, png):
    connection.send(request(b"", "image/png", length=len(png), Expect="100-continue"))
    interim = b""
    while not interim.endswith(b"\r\n\r\n"):
        interim += connection.socket.recv(1)
    assert interim.startswith(b"HTTP/1.1 100 ")
    connection.send(png)
    assert size_of(connection.read_response()) == (240, 160)


def test_client_can_read_error_after_sending_whole_body(connection):
    connection.send(request(bytes(LARGE), "image/jpeg"))
    too_large(connection.read_response())


def test_too_large_form_is_refused(connection):
    connection.send(request(*multipart(bytes(LARGE))))
    too_large(connection.read_response())


def test_chunked_body_is_counted_on_arrival(connection):
    connection.send(CHUNKED)
    part = bytes(1_000_000)
    for _ in range(LARGE // len(part)):
        connection.send(b"%x\r\n%s\r\n" % (len(part), part))
    connection.send(b"0\r\n\r\n")
    too_large(connection.read_response())


def test_connection_is_reused_after_refused_upload(connection, png):
    connection.send(request(bytes(LARGE), "image/jpeg"))
    response = connection.read_response()
    too_large(response)
    assert "connection" not in response.headers
    connection.send(request(png, "image/png"))
    assert size_of(connection.read_response()) == (240, 160)


def test_error_arrives_before_end_of_refused_upload(connection, png):
    message = request(bytes(LARGE), "image/jpeg")
    connection.send(message[:100_000])
    too_large(connection.read_response())
    connection.send(message[100_000:] + request(png, "image/png"))
    assert size_of(connection.read_response()) == (240, 160)


def test_connection_closes_after_refused_upload_if_asked(connection):
    message = request(bytes(LARGE), "image/jpeg", Connection="close")
    connection.send(message[:100_000])
    response = connection.read_response()
    too_large(response)
    assert response.headers["connection"] == "close"
    connection.send(message[100_000:])
    assert connection.closed_by_server()


def test_rest_of_refused_upload_must_arrive_in_time(tight):
    with RawConnection(tight.port) as connection:
        connection.send(request(bytes(1000), "image/jpeg", "/nowhere", length=5000))
        assert connection.read_response().status == 404
        connection.send(bytes(1000))
        assert connection.closed_by_server()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("way", [["-F", "image_file=@{}"], ["--data-binary", "@{}", "-H", "Content-Type: image/jpeg"]])
def test_curl_shows_error_for_too_large_file(server, tmp_path, way):
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(LARGE)
    command = ["curl", "-sS", *(part.format(large) for part in way), f"{server.base_url}/v1/remove"]
    done = subprocess.run([*command, "-w", "\n%{http_code}"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    body, status = done.stdout.rsplit("\n", 1)
    assert status == "400"
    assert '"image_too_large"' in body


def test_too_many_pixels_are_refused_by_header(connection):
    head = samples.png_chunk(b"IHDR", (10_000).to_bytes(4) * 2 + bytes((8, 2, 0, 0, 0)))
    bomb = b"\x89PNG\r\n\x1a\n" + head + samples.png_chunk(b"IDAT", b"") + samples.png_chunk(b"IEND", b"")
    connection.send(request(bomb, "image/png"))
    response = connection.read_response()
    assert (response.status, response.error()["code"]) == (400, "image_too_large")


# --- late, malformed, cancelled --------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 0.5])
def test_stalled_body_gets_408(tight, png, share):
    message = request(*multipart(png), Connection="keep-alive")
    head = message.index(b"\r\n\r\n") + 4
    with RawConnection(tight.port) as connection:
        connection.send(message[: head + int((len(message) - head) * share)])
        response = connection.read_response()
        assert (response.status, response.error()["code"]) == (408, "upload_timeout")
        assert connection.closed_by_server()
    wait_for_metric(tight, "clearcut_slots_used", 0)


@pytest.mark.parametrize(
    "message",
    [
        b"BREW /coffee HTCPCP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS to a plain port
        b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
        b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot-hex\r\n",
    ],
    ids=["no HTTP", "TLS", "length a word", "length negative", "both lengths", "chunk size a word"],
)
def test_malformed_http_gets_400_or_closed_connection(server, png, message):
    with RawConnection(server.port) as connection:
        connection.send(message)
        try:
            assert 400 <= connection.read_response().status < 500
        except (http.client.HTTPException, ConnectionError):
            assert connection.closed_by_server()
    with RawConnection(server.port) as connection:
        connection.send(request(png, "image/png"))
        assert size_of(connection.read_response()) == (240, 160)
    assert not [line for line in server.log if line["event"] == "unhandled" or "traceback" in line]
    wait_for_metric(server, "clearcut_slots_used", 0)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", "multipart/form-data; boundary=x", "validation_error"),
        (b"no boundary in here", "multipart/form-data; boundary=x", "validation_error"),
        (multipart(b"GIF89a" + bytes(30))[0][:-8], multipart(b"")[1], "validation_error"),
        (b"", "multipart/form-data", "validation_error"),
        (b"", "image/png", "missing_image"),
        (b"{}", "application/json", "missing_image"),
        (multipart(b"some words", name="image_file")[0], multipart(b"")[1], "validation_error"),
        (multipart(b"GIF89a" + bytes(30), name="photo")[0], multipart(b"")[1], "missing_image"),
    ],
)
def test_invalid_body_gets_400_with_reason(connection, body, kind, code):
    connection.send(request(body, kind))
    response = connection.read_response()
    assert (response.status, response.error()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/", 404, "not_found"), ("/v1/remove", 405, "method_not_allowed")]
)
def test_unknown_routes_get_json_error(client, path, status, code):
    response = client.get(path)
    assert response.status_code == status
    assert response.json()["code"] == code
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("reset", [False, True], ids=["goodbye", "reset"])
@pytest.mark.parametrize("moment", ["mid-upload", "waiting", "mid-download"])
def test_disconnect_frees_slot(server, moment, reset):
    photo = samples.png(samples.photo("rocket", 2000, 1400))
    client_id = f"gone-{uuid.uuid4()}"
    message = request(photo, "image/png", X_Request_ID=client_id)
    with RawConnection(server.port) as connection:
        connection.send(message[: len(message) // 2] if moment == "mid-upload" else message)
        if moment == "mid-download":
            assert connection.socket.recv(100).startswith(b"HTTP/1.1 200 ")
        if moment == "mid-upload":
            wait_for_metric(server, "clearcut_slots_used", 1)
        if reset:
            connection.abort()
    line = server.event("request", request_id=client_id)
    wait_for_metric(server, "clearcut_slots_used", 0)
    wait_for_metric(server, "clearcut_inflight_pixels", 0)
    if moment != "mid-download":
        assert (line["status"], line["code"]) == (499, "client_closed_request")


def test_full_server_gets_503_with_retry_after(png):
    """On a server of one slot, held by a large unfinished upload. The server would release the slot of a small one."""
    noise = np.random.default_rng(1).integers(0, 256, (640, 800, 3), np.uint8)
    with served(slots="1") as small, RawConnection(small.port) as holder, RawConnection(small.port) as other:
        held = request(samples.png(noise), "image/png")
        holder.send(held[:-1])
        wait_for_metric(small, "clearcut_slots_used", 1)
        other.send(request(png, "image/png"))
        refusal = other.read_response()
        assert (refusal.status, refusal.error()["code"]) == (503, "service_unavailable")
        assert 1 <= int(refusal.headers["retry-after"]) <= 60
        assert metric(small, "clearcut_rejected_total", reason="overloaded") == 1
        holder.send(held[-1:])
        assert size_of(holder.read_response()) == (800, 640)
        holder.send(held)
        assert size_of(holder.read_response()) == (800, 640)


# --- metrics, info, health, log --------------------------------------------------------------------------------------


def test_metrics_parse_in_both_formats(server, client, png):
    done = metric(server, "clearcut_requests_total", route="/v1/remove", status="200")
    assert client.post("/v1/remove", content=png, headers={"content-type": "image/png"}).status_code == 200
    assert metric(server, "clearcut_requests_total", route="/v1/remove", status="200") == done + 1
    for accept, parse in (("text/plain", prometheus), ("application/openmetrics-text", openmetrics)):
        response = client.get("/metrics", headers={"Accept": accept})
        assert response.headers["content-type"].startswith(accept)
        families = {family.name: family for family in parse(response.text)}
        assert families["process_resident_memory_bytes"].samples[0].value > 50e6
        assert all(family.documentation for name, family in families.items() if name.startswith("clearcut_"))
        stages = {sample.labels["stage"] for sample in families["clearcut_stage_seconds"].samples}
        assert {"read", "probe", "decode", "prepare", "queue", "inference", "refine", "compose", "encode"} <= stages


def test_info_names_model_device_limits_and_buckets(client):
    info = client.get("/v1/info").json()
    assert info["state"] == "ready"
    assert info["model"]["name"] == "clearcut-m"
    assert info["limits"]["max_bytes"] == 20 * 2**20
    assert info["inference"]["buckets"]


def test_health_routes_respond(client):
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


def test_log_has_one_json_line_per_request(server, client, png):
    client_id = f"log-{uuid.uuid4()}"
    response = client.post(
        "/v1/remove?note=secret-query",
        files={"image_file": ("secret-name.png", png, "image/png")},
        headers={"X-Request-ID": client_id, "X-Api-Key": "secret-key"},
    )
    assert response.status_code == 200
    line = server.event("request", request_id=client_id)
    assert line["status"] == 200
    assert "stages_ms" in line
    assert "secret" not in str(server.log)
    assert not [entry for entry in server.log if entry["event"] == "not json"]
    assert server.errors == []


def test_request_id_of_client_is_returned(client):
    response = client.get("/v1/me", headers={"X-Request-ID": "order-17.a"})
    assert response.headers["x-request-id"] == "order-17.a"
