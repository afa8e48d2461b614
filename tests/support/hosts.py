"""A local web server that serves images and records requests, for tests of fetching and webhooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Heard:
    method: str
    path: str
    """Path with the query string."""
    headers: dict[str, str]
    """Headers with lower-case names."""
    body: bytes


@dataclass
class Host:
    port: int
    answers: dict[str, tuple[int, dict[str, str], bytes]]
    """Responses by path: status, headers, body. Other paths get 404 for GET and 200 for POST."""
    heard: list[Heard] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def posts(self, count: int, seconds: float = 60) -> list[Heard]:
        """Wait for at least ``count`` POST requests and return them."""

        def found() -> list[Heard]:
            return [each for each in self.heard if each.method == "POST"]

        with self.news:
            assert self.news.wait_for(lambda: len(found()) >= count, seconds), self.heard
            return found()


@contextmanager
def host(pictures: Mapping[str, bytes] | None = None, address: str = "127.0.0.1") -> Iterator[Host]:
    """Serve ``pictures`` by path. Tests can add to ``answers`` later."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            fields = {name.lower(): value for name, value in self.headers.items()}
            with serving.news:
                serving.heard.append(Heard(self.command, self.path, fields, self.rfile.read(length)))
                serving.news.notify_all()
            missing = (200 if self.command == "POST" else 404, {}, b"")
            status, headers, body = serving.answers.get(self.path.partition("?")[0], missing)
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
    kept = {path: (200, {"Content-Type": "image/png"}, data) for path, data in (pictures or {}).items()}
    serving = Host(server.server_address[1], kept)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
