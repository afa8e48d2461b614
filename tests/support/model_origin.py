"""An HTTP server that publishes one file and can be configured to misbehave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.threaded_server import run_in_thread


class Origin:
    """What the server publishes, its faults, and the requests that it received."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        self.cut_after: list[int] = []
        """Body sizes at which the next responses end early, although Content-Length promises the whole file."""
        self.ranges = True
        self.off_by = 0
        """Offset in bytes added to the start of a requested range."""
        self.status = 0
        """Status to send instead of the file, if not 0."""
        self.redirect = ""
        self.length = True
        self.others: dict[str, bytes] = {}
        """Further contents, by path."""
        self.requests: list[dict[str, str]] = []
        self.url = ""

    def change(self, content: bytes) -> None:
        self.__init__(content)  # type: ignore[misc]


@contextmanager
def published(content: bytes) -> Iterator[Origin]:
    """Serve ``content`` at every path below ``origin.url``."""
    origin = Origin(content)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            origin.requests.append({name.lower(): value for name, value in self.headers.items()} | {":path": self.path})
            self.close_connection = True
            if (origin.status or origin.redirect) and self.path not in origin.others:
                self.send_response(origin.status or 302)
                self.send_header("Content-Length", "0")
                if origin.redirect:
                    self.send_header("Location", origin.redirect)
                self.end_headers()
                return
            start, body = 0, origin.others.get(self.path, origin.content)
            byte_range = self.headers.get("Range")
            if byte_range and origin.ranges and self.headers.get("If-Range") in (None, origin.etag):
                start = int(byte_range.removeprefix("bytes=").removesuffix("-")) + origin.off_by
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            if origin.etag:
                self.send_header("ETag", origin.etag)
            if origin.length:
                self.send_header("Content-Length", str(len(body) - start))
            self.send_header("Connection", "close")
            self.end_headers()
            sent = body[start:]
            self.wfile.write(sent[: origin.cut_after.pop(0)] if origin.cut_after else sent)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    origin.url = f"http://127.0.0.1:{server.server_address[1]}"
    with run_in_thread(server):
        yield origin
