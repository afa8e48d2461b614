"""One HTTP request on its own connection, for benchmarks that need no keep-alive."""

from __future__ import annotations

import http.client
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from typing import Protocol

BYTES = "application/octet-stream"


class Address(Protocol):
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Message
    body: bytes


def get(server: Address, path: str, timeout_s: float = 60) -> Response:
    """Send a GET request. Raises OSError, HTTPException."""
    return _send(server, "GET", path, None, {}, timeout_s)


def post(server: Address, path: str, body: bytes, *, content_type: str = BYTES, timeout_s: float = 120) -> Response:
    """Send a POST request. Raises OSError, HTTPException."""
    return _send(server, "POST", path, body, {"Content-Type": content_type}, timeout_s)


def post_image(server: Address, path: str, image: bytes, timeout_s: float = 120) -> Response:
    """Send an image to a route of ``/v1/remove``.

    Raises:
        RuntimeError: the status is not 200.
    """
    response = post(server, path, image, timeout_s=timeout_s)
    if response.status != 200:
        raise RuntimeError(f"the service returned {response.status}: {response.body[:200]!r}")
    return response


def _send(
    server: Address, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> Response:
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=timeout_s)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())
