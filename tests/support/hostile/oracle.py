"""Checks of every response to a hostile input: an image of the announced size, or a refusal in the dialect's format."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support import samples
from tests.support.hostile.decoder_memory import DecoderMemory
from tests.support.hostile.hostile_files import File
from tests.support.hostile.hostile_forms import Form
from tests.support.hostile.routes import ROUTES, Route
from tests.support.hostile.valid_files import base
from tests.support.live_server import Server
from tests.support.raw_http import RawConnection, RawResponse, request

REFUSALS = {400, 422}
TEMPORARY = {503, 504}
"""Statuses of temporary refusals: too many requests, or too slow. A 503 needs Retry-After."""
_KEYS = {
    "/v1.0/": {"errors"},
    "/api/": {"detail", "code", "request_id"},
    "/v1/segment": {"detail", "status_code", "type", "request_id"},
}
_KNOWN = samples.png(samples.photo("chelsea", 160, 120))
_CODECS = (
    "libpng ",
    "Corrupt JPEG data",
    "Premature end of JPEG",
    "Invalid SOS",
    "Unsupported marker",
    "Warning: unknown JFIF",
)
"""First words of what libpng and libjpeg print on standard error. OpenCV offers no way to silence them."""
_LEAKS = ("Traceback", "site-packages", ".py", "/usr/", "cv2", "libpng", "numpy", "object at")


@dataclass(slots=True)
class Cost:
    what: str
    cpu_s: float
    grown_mib: float
    """Peak resident memory during the request minus resident memory before it."""
    outcome: str
    decoder_mib: float = 0.0
    """Peak resident memory of the HEIC decoder's process."""


@dataclass(slots=True)
class Oracle:
    """Sends inputs one after the other and records each wrong response."""

    server: Server
    measuring: bool = False
    failures: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    costs: list[Cost] = field(default_factory=list)
    _wire: RawConnection | None = None
    _sent: int = 0
    _known: str = ""
    _references: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = self._pixels_of_known()

    # sending

    def file(self, item: File, turn: int) -> None:
        route = ROUTES[turn % len(ROUTES)]
        data = item.make()
        response = self._measured(f"{item.what} ({route.name})", lambda own: route.message(data, own))
        failure = self.wrong(response, route.path, item.outcome, route.field)
        served = not failure and response is not None and response.status == 200
        if served and item.outcome == "same" and _digest(response) != self._reference(item.base, route):
            failure = "served with other pixels than the whole image"
        self._note(f"{item.what} ({route.name})", failure, response)

    def form(self, item: Form, path: str = "/v1/remove") -> None:
        response = self._measured(
            f"form: {item.what}", lambda own: request(item.body, item.kind, path, X_Request_ID=own)
        )
        self._note(f"form: {item.what} ({path})", self.wrong(response, path, item.outcome), response)

    def options(self, what: str, path: str, query: bytes, outcome: str = "any", field: str = "") -> None:
        body = base("png palette")
        target = path + "?" + query.decode("latin-1")
        response = self._measured(what, lambda own: request(body, "image/png", target, X_Request_ID=own))
        self._note(what, self.wrong(response, path, outcome, field), response)

    def message(self, what: str, data: bytes, outcome: str = "any") -> None:
        """Send bytes on a new connection. A closed connection is accepted, except for ``good``.

        After a refused ``bad`` message no second response may follow, because the remaining bytes are no request.
        """
        path = data.split(b" ", 2)[1].decode("latin-1") if data.count(b" ") > 1 else ""
        with RawConnection(self.server.port, 30) as connection:
            with contextlib.suppress(
                OSError
            ):  # the server may refuse before it read everything; the response is still there
                connection.send(data)
            try:
                response: RawResponse | None = connection.read_response()
            except (OSError, http.client.HTTPException):
                response = None
            failure = "" if response is None and outcome != "good" else self.wrong(response, path, outcome, own=False)
            if not failure and response is not None and outcome == "bad" and response.status in {400, 431}:
                connection.socket.shutdown(socket.SHUT_WR)
                if more := _remaining(connection.socket):
                    failure = f"followed by {more[:60]!r}"
        self._note(what, failure, response)

    # checks

    def wrong(
        self, response: RawResponse | None, path: str, outcome: str = "any", field: str = "", own: bool = True
    ) -> str:
        """Return what is wrong with a response, or an empty string."""
        if response is None:
            return "no answer"
        if own and response.headers["x-request-id"] != self._request_id:
            return f"request id {response.headers['x-request-id']!r}"
        if response.status == 200:
            return "served" if outcome == "bad" else _wrong_image(response)
        if response.status in TEMPORARY:
            return (
                "" if response.status == 504 or int(response.headers.get("retry-after", 0)) >= 1 else "no Retry-After"
            )
        if response.status not in REFUSALS | {404, 405, 408, 431} or (own and response.status not in REFUSALS):
            return f"status {response.status}"
        if outcome == "good" and not _is_empty_cut_out(response):
            return f"refused: {response.body[:200]!r}"
        return _wrong_error(response, path, field)

    def check_server(self) -> None:
        """Check the server after a family: same pixels for a known photo, no slots in use, no unhandled errors."""
        if self._pixels_of_known() != self._known:
            self.failures.append("the known photo now gives other pixels")
        end = time.monotonic() + 30
        while (used := self._metric("clearcut_slots_used")) and time.monotonic() < end:
            time.sleep(0.05)
        if used:
            self.failures.append(f"{used:g} slots are still in use")
        if self._metric("clearcut_inflight_pixels"):
            self.failures.append("pixels are still counted as in flight")
        odd = [line for line in self.server.log if line["event"] in ("unhandled", "not json") or "traceback" in line]
        self.failures += [f"log: {str(line)[:300]}" for line in odd[:5]]
        odd_lines = [line for line in self.server.errors if not line.startswith(_CODECS)]
        self.failures += [f"standard error: {line}" for line in odd_lines[:5]]
        if self.server.process.poll() is not None:
            self.failures.append("the server has ended")
        if self._wire is not None:
            self._wire.socket.close()
            self._wire = None

    def rest(self) -> None:
        """Wait until the allocator returned freed memory, so that the next measurement starts from a stable value."""
        time.sleep(1.3)

    @property
    def _request_id(self) -> str:
        return f"hostile-{self._sent}"

    def _note(self, what: str, failure: str, response: RawResponse | None) -> None:
        self.outcomes[str(response.status) if response is not None else "closed"] += 1
        if failure:
            self.failures.append(f"{what}: {failure}")

    def _reference(self, name: str, route: Route) -> str:
        key = (name, route.name)
        if key not in self._references:
            response = self._ask(lambda own: route.message(base(name), own))
            assert response is not None, key
            self._references[key] = _digest(response)
        return self._references[key]

    def _pixels_of_known(self) -> str:
        response = self._ask(lambda own: request(_KNOWN, "image/png", X_Request_ID=own))
        assert response is not None, self.server.transcript()
        assert response.status == 200, response.body[:300]
        return _digest(response)

    def _metric(self, name: str) -> float:
        with RawConnection(self.server.port) as connection:
            connection.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            text = connection.read_response().body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " "))

    def _measured(self, what: str, build: Any) -> RawResponse | None:
        if not self.measuring:
            return self._ask(build)
        facts, rss = self.server.process_info, resident_mib(self.server.pid)[0]
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")  # resets the high-water mark
        before = cpu_seconds(self.server.pid)
        with DecoderMemory(self.server.pid) as decoder:
            response = self._ask(build)
        assert facts.is_running()
        cpu, peak = cpu_seconds(self.server.pid) - before, resident_mib(self.server.pid)[1]
        outcome = "closed" if response is None else str(response.status)
        self.costs.append(Cost(what, round(cpu, 4), round(peak - rss, 1), outcome, round(decoder.peak_mib, 1)))
        return response

    def _ask(self, build: Any) -> RawResponse | None:
        """Send on the kept connection. Reconnect once if the server closed it as idle."""
        self._sent += 1
        message = build(self._request_id)
        for _ in range(2):
            connection, fresh = self._wire, self._wire is None
            if connection is None:
                connection = RawConnection(self.server.port, 120)
            self._wire = None
            try:
                connection.send(message)
                response = connection.read_response()
            except (OSError, http.client.HTTPException):
                try:  # the server may have sent a refusal although sending failed
                    response = connection.read_response()
                except (OSError, http.client.HTTPException):
                    connection.socket.close()
                    if fresh:
                        return None
                    continue
            if response.headers.get("connection", "").lower() == "close":
                connection.socket.close()
            else:
                self._wire = connection
            return response
        return None


def _digest(response: RawResponse | None) -> str:
    return hashlib.sha256(response.body).hexdigest() if response is not None else ""


def _remaining(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of another process and of its ended children in seconds.

    Its own time is exact (clock_getcpuclockid(3) on Linux); that of children, such as HEIC decoders, counts in ticks.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")  # cutime and cstime, proc(5)
    return time.clock_gettime(~pid << 3 | 2) + children


def resident_mib(pid: int) -> tuple[float, float]:
    """Return the current and the peak resident memory in MiB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def _is_empty_cut_out(response: RawResponse) -> bool:
    """Return whether this is remove.bg's error for an empty cut-out, which does not refuse the file."""
    return b"unknown_foreground" in response.body


def _wrong_image(response: RawResponse) -> str:
    kind = response.headers["content-type"].split(";")[0]
    if kind in ("application/zip", "multipart/mixed", "application/json"):
        return "" if response.body else "an empty answer"
    formats = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/avif": "AVIF"}
    if kind not in formats:
        return f"content type {kind}"
    try:
        with Image.open(io.BytesIO(response.body)) as image:
            image.load()
            size, found = image.size, image.format
    except Exception as exc:
        return f"not an image: {exc!r}"
    names = ("x-image-width", "x-image-height") if "x-image-width" in response.headers else ("x-width", "x-height")
    announced = tuple(int(response.headers.get(name, -1)) for name in names)
    if found != formats[kind] or (announced != size and announced != (-1, -1)):
        return f"{found} of {size}, announced as {kind} of {announced}"
    return ""


def _wrong_error(response: RawResponse, path: str, field: str) -> str:
    if response.headers["content-type"] != "application/json":
        return f"content type {response.headers['content-type']}"
    try:
        body = json.loads(response.body)
    except ValueError:
        return f"not JSON: {response.body[:100]!r}"
    keys = next((keys for prefix, keys in _KEYS.items() if path.startswith(prefix)), {"code", "message", "request_id"})
    if not keys <= body.keys() or body.keys() - keys - {"details"}:
        return f"wrong fields {sorted(body)}"
    if "request_id" in keys and body["request_id"] != response.headers["x-request-id"]:
        return "another request's id"
    text = response.body.decode()
    if found := next((leak for leak in _LEAKS if leak in text), None):
        return f"reveals internals ({found}): {text[:200]}"
    of_size = (
        b"too_large" in response.body
        or b"resolution_too_high" in response.body
        or b"Maximum file size" in response.body
    )
    named = field in text or "Invalid value for '" in text
    if field and not named and not of_size and not _is_empty_cut_out(response):
        return f"does not name '{field}': {text[:200]}"
    return ""
