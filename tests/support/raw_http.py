"""HTTP over raw sockets, for requests that client libraries cannot send or would complete."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

BOUNDARY = "clearcut-tests-7b1d3c"


def multipart(
    image: bytes, fields: Mapping[str, str] | None = None, *, name: str = "image_file", filename: str = "photo"
) -> tuple[bytes, str]:
    """Return (body, Content-Type) of a form: the options first, then the image, as curl and the Poof clients send
    them.
    """
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in (fields or {}).items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    parts += [
        head.encode(),
        b"Content-Type: application/octet-stream\r\n\r\n",
        image,
        f"\r\n--{BOUNDARY}--\r\n".encode(),
    ]
    return b"".join(parts), f"multipart/form-data; boundary={BOUNDARY}"


def request(
    body: bytes, content_type: str, target: str = "/v1/remove", length: int | None = None, **headers: str
) -> bytes:
    """Return a whole POST request. ``length`` overrides Content-Length. Header names use ``_`` for ``-``."""
    lines = [
        f"POST {target} HTTP/1.1",
        "Host: clearcut",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body) if length is None else length}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class RawResponse:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def error(self) -> dict[str, object]:
        """Return the JSON body of an error and check the fields that every error has."""
        assert self.headers["content-type"] == "application/json", (self.status, self.body[:200])
        content = json.loads(self.body)
        assert {"code", "message", "request_id"} <= content.keys()
        assert content["request_id"] == self.headers["x-request-id"]
        return content


class RawConnection:
    """One TCP connection to the server."""

    def __init__(self, port: int, seconds: float = 60.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_response(self) -> RawResponse:
        """Read one response.

        Raises:
            http.client.RemoteDisconnected: The server closed the connection without a response.
        """
        response = http.client.HTTPResponse(self.socket, method="POST")
        try:
            response.begin()
            return RawResponse(response.status, response.headers, response.read())
        finally:
            response.close()

    def closed_by_server(self) -> bool:
        """Wait until the server closes its side. Return True if it sent nothing more."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def abort(self) -> None:
        """Close with a TCP reset, as a crashed client does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def send_request(port: int, message: bytes) -> RawResponse:
    """Send one request on a new connection and return the response."""
    with RawConnection(port) as connection:
        connection.send(message)
        return connection.read_response()


def assert_refused(response: RawResponse, status: int, code: str) -> None:
    """Check the status and the error code. A 503 also needs a ``Retry-After`` of 1 to 60 s."""
    assert (response.status, response.error()["code"]) == (status, code)
    if status == 503:
        assert 1 <= int(response.headers["retry-after"]) <= 60
