"""A local web server that serves images and records requests, for tests of fetching and webhooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.threaded_server import run_in_thread


@dataclass
class RecordedRequest:
    method: str
    path: str
    """Path with the query string."""
    headers: dict[str, str]
    """Headers with lower-case names."""
    body: bytes


@dataclass
class ImageServer:
    port: int
    responses: dict[str, tuple[int, dict[str, str], bytes]]
    """Responses by path: status, headers, body. Other paths get 404 for GET and 200 for POST."""
    requests: list[RecordedRequest] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def posts(self, count: int, seconds: float = 60) -> list[RecordedRequest]:
        """Wait for at least ``count`` POST requests and return them."""

        def found() -> list[RecordedRequest]:
            return [each for each in self.requests if each.method == "POST"]

        with self.changed:
            assert self.changed.wait_for(lambda: len(found()) >= count, seconds), self.requests
            return found()


@contextmanager
def image_server(images: Mapping[str, bytes] | None = None, address: str = "127.0.0.1") -> Iterator[ImageServer]:
    """Serve ``images`` by path. Tests can add to ``responses`` later."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            fields = {name.lower(): value for name, value in self.headers.items()}
            with serving.changed:
                serving.requests.append(RecordedRequest(self.command, self.path, fields, self.rfile.read(length)))
                serving.changed.notify_all()
            missing = (200 if self.command == "POST" else 404, {}, b"")
            status, headers, body = serving.responses.get(self.path.partition("?")[0], missing)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    initial = {path: (200, {"Content-Type": "image/png"}, data) for path, data in (images or {}).items()}
    serving = ImageServer(server.server_address[1], initial)
    with run_in_thread(server):
        yield serving
