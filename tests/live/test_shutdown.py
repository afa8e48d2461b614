"""SIGTERM at every stage: accepted work finishes, new work gets 503, and the exit code is correct."""

from __future__ import annotations

import http.client
import io
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from PIL import Image

from tests.support import samples
from tests.support.live_server import Server, http_client, served, started
from tests.support.metrics import metric, wait_for_metric
from tests.support.raw_http import RawConnection, request, send_request

pytestmark = pytest.mark.live


def until_unready(server: Server) -> None:
    """Request /readyz on new connections, as a load balancer does, until it returns 503."""
    for _ in range(2000):
        with http_client(server) as probe:
            response = probe.get("/readyz")
        if response.status_code == 503:
            assert response.json() == {"status": "draining"}
            return
    raise AssertionError(server.transcript())


def test_drain_finishes_running_and_refuses_new_requests():
    """The uploads lack one byte when the signal arrives, so they are in progress for as long as needed."""
    photos = [samples.photo(samples.PHOTOS[n % 4], 300 + 10 * n, 200) for n in range(8)]
    messages = [request(samples.png(photo), "image/png") for photo in photos]
    with served() as server, ExitStack() as open_wires:
        wires = [open_wires.enter_context(RawConnection(server.port)) for _ in photos]
        for connection, message in zip(wires, messages, strict=True):
            connection.send(message[:-1])
        wait_for_metric(server, "clearcut_slots_used", 8)
        server.signal()
        until_unready(server)
        with RawConnection(server.port) as late:
            late.send(messages[0])
            refusal = late.read_response()
            assert (refusal.status, refusal.error()["code"]) == (503, "service_unavailable")
            assert int(refusal.headers["retry-after"]) >= 1
            assert refusal.headers["connection"] == "close"
        with http_client(server) as client:
            assert client.get("/livez").status_code == 200
        assert metric(server, "clearcut_slots_used") == 8
        for connection, message in zip(wires, messages, strict=True):
            connection.send(message[-1:])
        for connection, photo in zip(wires, photos, strict=True):
            response = connection.read_response()
            assert response.status == 200
            rgba = np.asarray(Image.open(io.BytesIO(response.body)))
            assert rgba.shape == (*photo.shape[:2], 4)
            assert np.array_equal(rgba[rgba[..., 3] == 255][:, :3], photo[rgba[..., 3] == 255])
        assert server.exit_code() == 0
        assert server.errors == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), 5)


def test_second_signal_stops_immediately():
    with served(drain_timeout_s="600") as server, RawConnection(server.port) as connection:
        connection.send(request(samples.png(samples.photo()), "image/png")[:-1])
        wait_for_metric(server, "clearcut_slots_used", 1)
        server.signal()
        until_unready(server)
        server.signal()
        assert server.exit_code() == 1
        response = connection.read_response()
        assert (response.status, response.error()["code"]) == (503, "service_unavailable")
        assert not [line for line in server.log if "traceback" in line]


def test_second_signal_under_load_exits_with_1():
    """Threads process images when the process ends; ``tests/unit/server/test_process_exit.py`` forces the abort."""
    message = request(samples.png(samples.photo("coffee", 2000, 1500)), "image/png")
    finished = threading.Semaphore(0)

    def load(port: int) -> None:
        with suppress(OSError, http.client.HTTPException):  # the server has ended
            while send_request(port, message).status == 200:
                finished.release()

    with served(drain_timeout_s="600") as server, ThreadPoolExecutor(12) as clients:
        for _ in range(12):
            clients.submit(load, server.port)
        for _ in range(24):
            assert finished.acquire(timeout=60)
        server.signal()
        until_unready(server)
        for _ in range(4):
            assert finished.acquire(timeout=60)
        server.signal()
        assert server.exit_code() == 1
        assert server.errors == []


def test_drain_timeout_exits_with_1():
    with served(drain_timeout_s="0.2", body_stall_s="600") as server, RawConnection(server.port) as connection:
        connection.send(request(samples.png(samples.photo()), "image/png")[:-1])
        wait_for_metric(server, "clearcut_slots_used", 1)
        assert server.stop() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_connections_do_not_delay_drain(number):
    with served(drain_timeout_s="600") as server, ExitStack() as open_wires:
        for _ in range(4):
            connection = open_wires.enter_context(RawConnection(server.port))
            connection.send(b"GET /livez HTTP/1.1\r\nHost: clearcut\r\n\r\n")
            assert connection.read_response().status == 200
        server.signal(number)
        assert server.exit_code(seconds=25) == 0  # well within the 30 s keep-alive timeout


def test_signal_during_start_is_handled():
    with started() as server:
        server.event("starting")
        assert server.stop() == 0
        assert server.errors == []


def test_drain_delay_keeps_serving():
    photo = samples.png(samples.photo("coffee", 120, 80))
    with served(drain_delay_s="60", drain_timeout_s="60") as server:
        server.signal()
        until_unready(server)
        with RawConnection(server.port) as connection:
            connection.send(request(photo, "image/png"))
            assert connection.read_response().status == 200
        server.kill()
