"""A web server on this machine for what a service fetches and calls: answers from a dictionary, and requests noted."""

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
    """With the query."""
    headers: dict[str, str]
    """Lower-case names."""
    body: bytes


@dataclass
class Host:
    port: int
    answers: dict[str, tuple[int, dict[str, str], bytes]]
    """By path: status, headers, body. Anything else is 404; a POST without an answer here is 200."""
    heard: list[Heard] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def posts(self, count: int, seconds: float = 60) -> list[Heard]:
        """At least ``count`` of them, waited for."""

        def found() -> list[Heard]:
            return [each for each in self.heard if each.method == "POST"]

        with self.news:
            assert self.news.wait_for(lambda: len(found()) >= count, seconds), self.heard
            return found()


@contextmanager
def host(pictures: Mapping[str, bytes] | None = None, address: str = "127.0.0.1") -> Iterator[Host]:
    """Serve ``pictures`` by path, and what is put into ``answers`` later."""

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
            """Silence."""

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
