"""A local server that serves images and receives webhooks, for tests of jobs."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import samples
from tests.support.threaded_server import run_in_thread

PHOTO = samples.jpeg(samples.photo("coffee"))


@dataclass
class CallbackServer:
    """The server's state: ``/photo.jpg`` is an image, and every POST to ``/hook`` is recorded."""

    port: int = 0
    calls: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    """(path, headers, body) of each webhook, in order of arrival."""
    times: list[float] = field(default_factory=list)
    """Time of arrival of each webhook, Unix seconds."""
    files: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    """Statuses of image paths that respond with something else than 200 or 404."""
    respond: Callable[[str, int], int] = lambda path, call: 204
    """Function from (path, number of earlier calls) to the status of a webhook."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def allow(self) -> str:
        """Value for CLEARCUT_FETCH_ALLOW."""
        return f"127.0.0.1:{self.port}"

    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.calls]

    def until_calls(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        with self.changed:
            complete = self.changed.wait_for(lambda: len(self.calls) >= count, seconds)
        assert complete, f"{len(self.calls)} of {count} calls"
        return self.bodies()

    def count(self, name: str) -> Counter[str]:
        return Counter(str(body[name]) for body in self.bodies())


@contextmanager
def callback_server(**files: bytes) -> Iterator[CallbackServer]:
    callbacks = CallbackServer(files={"/photo.jpg": PHOTO} | {f"/{name}": data for name, data in files.items()})
    seen: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = callbacks.files.get(self.path.partition("?")[0])
            self.send_response(callbacks.statuses.get(self.path, 200 if data is not None else 404))
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            with callbacks.changed:
                call = seen[self.path]
                seen[self.path] += 1
            status = callbacks.respond(self.path, call)
            with callbacks.changed:
                headers = {name.lower(): value for name, value in self.headers.items()} | {"raw": raw.decode()}
                callbacks.times.append(time.time())
                callbacks.calls.append((self.path, headers, json.loads(raw)))
                callbacks.changed.notify_all()
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    callbacks.port = server.server_address[1]
    with run_in_thread(server):
        yield callbacks
