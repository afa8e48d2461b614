"""Attacks with many connections for the duration of a ``with`` block: idle, slow, half-closed, pipelined, cancelled."""

from __future__ import annotations

import contextlib
import http.client
import random
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support import samples
from tests.support.raw_http import RawConnection, request

MEDIUM = samples.jpeg(samples.photo("rocket", 800, 600))
Attack = Callable[[int, threading.Event], None]
"""Function of (port, stop event)."""


@contextmanager
def under(attack: Attack, port: int, threads: int = 1) -> Iterator[None]:
    stop = threading.Event()
    workers = [threading.Thread(target=attack, args=(port, stop)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def raise_descriptor_limit(limit: int = 8192) -> None:
    """Raise this process's limit of file descriptors, because the attacks open many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))


def _many(count: int, first: bytes, drip: Callable[[], bytes], every_s: float) -> Attack:
    """Return an attack of ``count`` connections. Each sends ``first``, then ``drip()`` every ``every_s`` seconds.
    Closed connections are opened again.
    """

    def attack(port: int, stop: threading.Event) -> None:
        raise_descriptor_limit()
        live: dict[int, socket.socket] = {}
        watch = selectors.DefaultSelector()
        due = 0.0
        while not stop.is_set():
            for _ in range(min(100, count - len(live))):
                with contextlib.suppress(OSError):
                    created = socket.create_connection(("127.0.0.1", port), 5)
                    created.setblocking(False)
                    if first:
                        created.send(first)
                    live[created.fileno()] = created
                    watch.register(created, selectors.EVENT_READ)
            for key, _ in watch.select(0.05):
                each = live[key.fd]
                try:
                    gone = not each.recv(1 << 16)
                except OSError:
                    gone = True
                if gone:
                    watch.unregister(each)
                    del live[key.fd]
                    each.close()
            if time.monotonic() >= due:
                due = time.monotonic() + every_s
                for each in live.values():
                    with contextlib.suppress(OSError):
                        if piece := drip():
                            each.send(piece)
        for each in live.values():
            each.close()

    return attack


def _pipelined(port: int, stop: threading.Event) -> None:
    """Send 50 requests at once on one connection, repeatedly."""
    while not stop.is_set():
        with RawConnection(port) as connection, contextlib.suppress(OSError):
            connection.send(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            answered = 0
            while answered < 50 and (piece := connection.socket.recv(1 << 20)):
                answered += piece.count(b"HTTP/1.1 200")


def _half_closed(port: int, stop: threading.Event) -> None:
    """Send whole requests and close the sending side immediately."""
    message = request(MEDIUM, "image/jpeg")
    while not stop.is_set():
        with RawConnection(port) as connection, contextlib.suppress(OSError, http.client.HTTPException):
            connection.send(message)
            connection.socket.shutdown(socket.SHUT_WR)
            connection.read_response()


def _cancelled(port: int, stop: threading.Event) -> None:
    """Send whole requests and reset the connection at a random moment before the response."""
    rng = random.Random(1)
    message = request(MEDIUM, "image/jpeg")
    while not stop.is_set():
        with RawConnection(port) as connection, contextlib.suppress(OSError):
            connection.send(message)
            stop.wait(rng.uniform(0, 0.05))
            connection.abort()


_HALF_HEAD = b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nX-"
_BODY_HEAD = (
    b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000000\r\n\r\n\xff\xd8"
)
ATTACKS: dict[str, Attack] = {
    "1,000 idle connections": _many(1000, b"", lambda: b"", 1),
    "500 slow heads": _many(500, _HALF_HEAD, lambda: b"a", 0.5),
    "500 slow bodies": _many(500, _BODY_HEAD, lambda: b"a", 0.5),
    "pipelined requests": _pipelined,
    "half-closed connections": _half_closed,
    "requests given up": _cancelled,
}
