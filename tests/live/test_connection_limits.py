"""Endless headers, clients that never send, clients that never read, and malformed HTTP."""

import http.client
import json
import socket
import time
from contextlib import ExitStack, suppress

import cv2
import httpx
import numpy as np
import pytest

from tests.support.live_server import served
from tests.support.metrics import metric, wait_for_metric
from tests.support.raw_http import RawConnection, multipart, request

pytestmark = pytest.mark.live


def noise(side: int) -> bytes:
    """Return a PNG that hardly compresses, bright in the middle."""
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


@pytest.mark.parametrize("pieces", [1, 20])
def test_endless_header_section_is_refused_early(server, pieces):
    with RawConnection(server.port) as connection:
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-A: ")
        sent = 0
        try:
            while sent < 4_000_000:
                connection.send(b"a" * (200_000 // pieces))
                sent += 200_000 // pieces
        except OSError:
            pass
        assert sent < 4_000_000
    assert metric(server, "clearcut_requests_total", status="431") >= 1


def test_too_many_headers_get_json_error(server):
    with RawConnection(server.port) as connection:
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n")
        response = connection.read_response()
        assert response.status == 431
        assert response.error()["code"] == "headers_too_large"
        assert connection.closed_by_server()


def test_header_section_within_limit_is_served(server):
    with RawConnection(server.port) as connection:
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"b" * 20_000 + b"\r\n\r\n")
        assert connection.read_response().status == 200


@pytest.mark.parametrize(
    "broken",
    [
        b"FOO / HTTP/1.1\r\n\r\n",
        b"GET /readyz HTTP/9\r\n\r\n",
        b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_http_gets_json_error(server, broken):
    with RawConnection(server.port) as connection:
        connection.send(broken)
        response = connection.read_response()
        assert response.status == 400
        assert response.error()["code"] == "bad_request"


@pytest.mark.parametrize(
    ("path", "members"),
    [
        (b"/v1/remove", {"code", "message", "details", "request_id"}),
        (b"/v1.0/removebg", {"errors"}),
        (b"/api/remove", {"detail", "code", "request_id"}),
        (b"/v1/segment", {"detail", "status_code", "type", "request_id"}),
    ],
)
@pytest.mark.parametrize("fault", [b"Content-Length: -1", b"X-A: 1\r\n" * 200])
def test_errors_before_routing_use_dialect_of_path(server, path, members, fault):
    with RawConnection(server.port) as connection:
        connection.send(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine-1\r\n" + fault + b"\r\n\r\n")
        response = connection.read_response()
    assert response.status in (400, 431)
    assert response.headers["x-request-id"] == "mine-1"
    assert json.loads(response.body).keys() == members


def test_stalled_header_section_gets_408(tight):
    with RawConnection(tight.port) as connection, RawConnection(tight.port) as silent:
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-")
        response = connection.read_response()
        assert response.status == 408
        assert response.error()["code"] == "upload_timeout"
        assert silent.closed_by_server()


def test_header_limit_applies_per_request(server):
    with RawConnection(server.port) as connection:
        for _ in range(3):
            connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-A: " + b"b" * 20_000 + b"\r\n\r\n")
            assert connection.read_response().status == 200


def test_client_that_never_reads_is_disconnected(tight):
    body, kind = multipart(noise(1800))
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(60)
    slow.connect(("127.0.0.1", tight.port))
    mask = cv2.imencode(".png", np.full((1800, 1800), 255, np.uint8))[1].tobytes()
    complete = body.replace(b"\r\n--" + kind.split("=")[1].encode() + b"--\r\n", b"")
    boundary = kind.split("=")[1].encode()
    complete += b"\r\n--" + boundary + b'\r\nContent-Disposition: form-data; name="mask"; filename="m"\r\n\r\n' + mask
    complete += b"\r\n--" + boundary + b"--\r\n"
    slow.sendall(request(complete, kind))
    try:
        wait_for_metric(tight, "clearcut_slots_used", 1)
        wait_for_metric(tight, "clearcut_slots_used", 0)  # by the timer, because nothing is read
        assert metric(tight, "clearcut_cancelled_total", stage="send") >= 1
        received = 0
        try:
            while piece := slow.recv(1 << 16):
                received += len(piece)
        except OSError:
            pass
        assert received < 8_000_000  # of more than 9 MB
    finally:
        slow.close()


@pytest.mark.parametrize("bytes_per_s", [24_000, 96_000])
def test_steady_reader_gets_whole_response(bytes_per_s):
    pixels = np.random.default_rng(1).integers(0, 256, (1800, 1800, 3), dtype=np.uint8)
    mask = cv2.imencode(".png", np.full((1800, 1800), 255, np.uint8))[1].tobytes()
    photo = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    files = {"image_file": ("a.png", photo), "mask": ("m.png", mask)}
    with served(body_stall_s="2") as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        slow.settimeout(60)
        slow.connect((server.host, server.port))
        encoded = httpx.Request("POST", f"{server.base_url}/v1/remove", files=files)
        slow.sendall(request(encoded.read(), encoded.headers["content-type"]))
        response, end = bytearray(), time.monotonic() + 8
        while time.monotonic() < end:
            response += slow.recv(bytes_per_s // 20)
            time.sleep(0.05)
        head, _, body = bytes(response).partition(b"\r\n\r\n")
        length = int(dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])[b"content-length"])
        assert length > 8_000_000
        missing = length - len(body)
        while missing > 0 and (piece := slow.recv(1 << 20)):
            missing -= len(piece)
        assert missing == 0
        assert metric(server, "clearcut_cancelled_total", stage="send") == 0


def test_slow_reader_releases_slot_and_gets_response():
    """On a server of one slot. The response is larger than the connection's buffers."""
    image = noise(1800)
    mask = cv2.imencode(".png", np.full((1800, 1800), 255, np.uint8))[1].tobytes()
    small = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    with served(slots="1") as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        slow.settimeout(60)
        slow.connect((server.host, server.port))
        files = {"image_file": ("a.png", image), "mask": ("m.png", mask)}
        encoded = httpx.Request("POST", f"{server.base_url}/v1/remove", files=files)
        slow.sendall(request(encoded.read(), encoded.headers["content-type"]))
        response = slow.recv(1 << 16)
        for _ in range(3):
            other = httpx.post(f"{server.base_url}/v1/remove", files={"image_file": small}, trust_env=False)
            assert other.status_code == 200
        while b"\r\n\r\n" not in response:
            response += slow.recv(1 << 16)
        head, _, body = response.partition(b"\r\n\r\n")
        length = int(dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])[b"content-length"])
        missing = length - len(body)
        while missing > 0 and (piece := slow.recv(1 << 20)):
            missing -= len(piece)
        assert missing == 0
        wait_for_metric(server, "clearcut_slots_used", 0)


def test_trickling_reader_is_disconnected(tight):
    """One byte at a time is progress but holds a slot."""
    body, kind = multipart(noise(1800))
    boundary = kind.split("=")[1].encode()
    mask = cv2.imencode(".png", np.full((1800, 1800), 255, np.uint8))[1].tobytes()
    part = b'\r\nContent-Disposition: form-data; name="mask"; filename="m"\r\n\r\n' + mask + b"\r\n"
    body = body.removesuffix(b"--" + boundary + b"--\r\n") + b"--" + boundary + part + b"--" + boundary + b"--\r\n"
    before = metric(tight, "clearcut_cancelled_total", stage="send")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect((tight.host, tight.port))
        slow.sendall(request(body, kind))
        with suppress(OSError):
            while slow.recv(100) and metric(tight, "clearcut_cancelled_total", stage="send") == before:
                time.sleep(0.05)
    assert metric(tight, "clearcut_cancelled_total", stage="send") == before + 1


def test_expect_continue_works_with_split_header_section(server):
    body, kind = multipart(noise(64))
    complete = request(body, kind)
    with RawConnection(server.port) as connection:
        connection.send(complete[:40])
        connection.send(complete[40:])
        try:
            assert connection.read_response().status == 200
        except http.client.RemoteDisconnected:
            pytest.fail("closed without an answer")


def test_slow_uploads_release_slots_and_finish():
    message = request(noise(32), "image/png")
    with served(slots="2") as small, ExitStack() as open_wires:
        slow = [open_wires.enter_context(RawConnection(small.port)) for _ in range(2)]
        for connection in slow:
            connection.send(message[:-10])
        wait_for_metric(small, "clearcut_slots_used", 2)
        statuses = []
        while 200 not in statuses and len(statuses) < 5000:
            with RawConnection(small.port) as other:
                other.send(message)
                statuses.append(other.read_response().status)
        assert set(statuses) <= {503, 200}  # the server cannot know yet that they are slow
        assert metric(small, "clearcut_slow_uploads") >= 1
        for connection in slow:
            connection.send(message[-10:])
            assert connection.read_response().status == 200
        wait_for_metric(small, "clearcut_slots_used", 0)
        assert metric(small, "clearcut_slow_uploads") == 0


CHUNKED = b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


def send_on(connection: RawConnection, data: bytes, seconds: float) -> None:
    """Send until it fails. That takes a while, because the kernel buffers megabytes."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.send(data)
        time.sleep(0.01)


@pytest.mark.parametrize(
    "endless", [b"0\r\nX-A: " + b"a" * 200_000, b"0\r\n" + b"X-A: 1\r\n" * 25_000, b"3;a=" + b"a" * 200_000]
)
def test_endless_trailers_are_refused_early(server, endless):
    """Trailers are not counted as body, so they need their own limit."""
    with RawConnection(server.port) as connection:
        connection.send(CHUNKED + endless)
        with pytest.raises(ConnectionError):
            send_on(connection, endless[-200_000:], 5)
    assert metric(server, "clearcut_requests_total", status="431") >= 1


def test_trailer_is_not_read_as_header(server):
    with RawConnection(server.port) as connection:
        connection.send(CHUNKED + b"0\r\nX-Request-ID: from-the-trailer\r\n\r\n")
        response = connection.read_response()
        assert response.status == 400
        assert response.headers["x-request-id"] != "from-the-trailer"
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.read_response().status == 200


@pytest.mark.parametrize(("head", "stray"), [(b"", b"\r\n"), (b"Content-Length: 9\r\n", b"x")])
def test_stray_bytes_close_connection(tight, head, stray):
    with RawConnection(tight.port, seconds=20) as connection:
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        assert connection.read_response().status == 200
        connection.send(stray)
        while connection.socket.recv(4096):  # closed by the service, with or without a response
            pass


def test_pipelined_error_does_not_mix_with_response(server):
    """The malformed request follows two whole requests. The first response must not be mistaken for theirs."""
    body, kind = multipart(noise(600))
    with RawConnection(server.port) as connection:
        connection.send(
            request(body, kind, X_Request_ID="first") + b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n"
        )
        with suppress(http.client.RemoteDisconnected, ConnectionError):
            assert connection.read_response().headers["x-request-id"] == "first"


def test_disconnect_with_pipelined_requests_logs_no_error(server):
    body, kind = multipart(noise(2000))
    connection = RawConnection(server.port)
    connection.send(request(body, kind, X_Request_ID="left-1") + b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    # Wait until the request is being processed, or finished: it may be too fast to observe.
    while metric(server, "clearcut_slots_used") < 1:
        if any(line.get("request_id") == "left-1" for line in server.log):
            break
    connection.abort()
    assert server.event("request", request_id="left-1")["status"] in (499, 200)
    assert not [line for line in server.log if line["event"] == "unhandled"]


def test_too_many_pipelined_requests_close_connection(server):
    some = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    with RawConnection(server.port) as connection:
        connection.send(50 * some)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 50:
            piece = connection.socket.recv(65536)
            assert piece
            received += piece
    with RawConnection(server.port) as connection:
        sent = 0
        try:
            while sent < 2_000_000:
                connection.send(5000 * some)
                sent += 5000
        except OSError:
            pass
        assert sent < 2_000_000


@pytest.mark.parametrize("pieces", [1, 3])
def test_body_after_upgrade_offer_is_read(pieces):
    """Java's HTTP client and `curl --http2` send this. The service ignores the offer."""
    offered = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABk"}
    complete = request(noise(64), "image/png", X_Request_ID="offered-1", **offered)
    with served() as server, RawConnection(server.port) as connection:
        for _ in range(2):
            size = -(-len(complete) // pieces)
            for start in range(0, len(complete), size):
                connection.send(complete[start : start + size])
            response = connection.read_response()
            assert response.status == 200, response.body
            assert response.headers["x-request-id"] == "offered-1"
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.read_response().status == 200
        server.stop()
    assert not [line for line in server.log if line["level"] == "warning"]
