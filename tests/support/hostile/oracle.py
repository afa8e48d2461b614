"""Checks of every response to a hostile input: an image of the announced size, or a refusal in the dialect's format."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support import samples
from tests.support.hostile.hostile_files import File
from tests.support.hostile.hostile_forms import Form
from tests.support.hostile.routes import ROUTES, Route
from tests.support.hostile.valid_files import base
from tests.support.served import Server
from tests.support.wire import Answer, Wire, request

REFUSALS = {400, 422}
PUT_OFF = {503, 504}
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


@dataclass(slots=True)
class Oracle:
    """Sends inputs one after the other and records each wrong response."""

    server: Server
    measuring: bool = False
    faults: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    costs: list[Cost] = field(default_factory=list)
    _wire: Wire | None = None
    _sent: int = 0
    _known: str = ""
    _wholes: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = self._pixels_of_known()

    # sending

    def file(self, item: File, turn: int) -> None:
        route = ROUTES[turn % len(ROUTES)]
        data = item.make()
        answer = self._measured(f"{item.what} ({route.name})", lambda own: route.wire(data, own))
        fault = self.wrong(answer, route.path, item.outcome, route.field)
        served = not fault and answer is not None and answer.status == 200
        if served and item.outcome == "same" and _digest(answer) != self._whole(item.base, route):
            fault = "served with other pixels than the whole picture"
        self._note(f"{item.what} ({route.name})", fault, answer)

    def form(self, item: Form, path: str = "/v1/remove") -> None:
        answer = self._measured(f"form: {item.what}", lambda own: request(item.body, item.kind, path, X_Request_ID=own))
        self._note(f"form: {item.what} ({path})", self.wrong(answer, path, item.outcome), answer)

    def options(self, what: str, path: str, query: bytes, outcome: str = "any", field: str = "") -> None:
        body = base("png palette")
        target = path + "?" + query.decode("latin-1")
        answer = self._measured(what, lambda own: request(body, "image/png", target, X_Request_ID=own))
        self._note(what, self.wrong(answer, path, outcome, field), answer)

    def message(self, what: str, data: bytes, outcome: str = "any") -> None:
        """Send bytes on a new connection. A closed connection is accepted, except for ``good``.

        After a refused ``bad`` message no second response may follow, because the remaining bytes are no request.
        """
        path = data.split(b" ", 2)[1].decode("latin-1") if data.count(b" ") > 1 else ""
        with Wire(self.server.port, 30) as wire:
            with contextlib.suppress(
                OSError
            ):  # the server may refuse before it read everything; the response is still there
                wire.send(data)
            try:
                answer: Answer | None = wire.answer()
            except (OSError, http.client.HTTPException):
                answer = None
            fault = "" if answer is None and outcome != "good" else self.wrong(answer, path, outcome, own=False)
            if not fault and answer is not None and outcome == "bad" and answer.status in {400, 431}:
                wire.socket.shutdown(socket.SHUT_WR)
                if more := _rest(wire.socket):
                    fault = f"followed by {more[:60]!r}"
        self._note(what, fault, answer)

    # checks

    def wrong(self, answer: Answer | None, path: str, outcome: str = "any", field: str = "", own: bool = True) -> str:
        """Return what is wrong with a response, or an empty string."""
        if answer is None:
            return "no answer"
        if own and answer.headers["x-request-id"] != self._own:
            return f"request id {answer.headers['x-request-id']!r}"
        if answer.status == 200:
            return "served" if outcome == "bad" else _wrong_picture(answer)
        if answer.status in PUT_OFF:
            return "" if answer.status == 504 or int(answer.headers.get("retry-after", 0)) >= 1 else "no Retry-After"
        if answer.status not in REFUSALS | {404, 405, 408, 431} or (own and answer.status not in REFUSALS):
            return f"status {answer.status}"
        if outcome == "good" and not _without_subject(answer):
            return f"refused: {answer.body[:200]!r}"
        return _wrong_refusal(answer, path, field)

    def still_well(self) -> None:
        """Check the server after a family: same pixels for a known photo, no slots in use, no unhandled errors."""
        if self._pixels_of_known() != self._known:
            self.faults.append("a known photo is answered with other pixels than before")
        end = time.monotonic() + 30
        while (used := self._metric("clearcut_slots_used")) and time.monotonic() < end:
            time.sleep(0.05)
        if used:
            self.faults.append(f"{used:g} slots are still held")
        if self._metric("clearcut_inflight_pixels"):
            self.faults.append("pixels are still counted as in the house")
        odd = [line for line in self.server.log if line["event"] in ("unhandled", "not json") or "traceback" in line]
        self.faults += [f"log: {str(line)[:300]}" for line in odd[:5]]
        odd_lines = [line for line in self.server.errors if not line.startswith(_CODECS)]
        self.faults += [f"standard error: {line}" for line in odd_lines[:5]]
        if self.server.process.poll() is not None:
            self.faults.append("the server has ended")
        if self._wire is not None:
            self._wire.socket.close()
            self._wire = None

    def rest(self) -> None:
        """Wait until the allocator returned freed memory, so that the next measurement starts from a stable value."""
        time.sleep(1.3)

    @property
    def _own(self) -> str:
        return f"hostile-{self._sent}"

    def _note(self, what: str, fault: str, answer: Answer | None) -> None:
        self.outcomes[str(answer.status) if answer is not None else "closed"] += 1
        if fault:
            self.faults.append(f"{what}: {fault}")

    def _whole(self, name: str, route: Route) -> str:
        key = (name, route.name)
        if key not in self._wholes:
            answer = self._ask(lambda own: route.wire(base(name), own))
            assert answer is not None, key
            self._wholes[key] = _digest(answer)
        return self._wholes[key]

    def _pixels_of_known(self) -> str:
        answer = self._ask(lambda own: request(_KNOWN, "image/png", X_Request_ID=own))
        assert answer is not None, self.server.transcript()
        assert answer.status == 200, answer.body[:300]
        return _digest(answer)

    def _metric(self, name: str) -> float:
        with Wire(self.server.port) as wire:
            wire.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            text = wire.answer().body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " "))

    def _measured(self, what: str, build: Any) -> Answer | None:
        if not self.measuring:
            return self._ask(build)
        facts, rss = self.server.facts, resident_mib(self.server.pid)[0]
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")  # resets the high-water mark
        before = cpu_seconds(self.server.pid)
        answer = self._ask(build)
        assert facts.is_running()
        cpu, peak = cpu_seconds(self.server.pid) - before, resident_mib(self.server.pid)[1]
        outcome = "closed" if answer is None else str(answer.status)
        self.costs.append(Cost(what, round(cpu, 4), round(peak - rss, 1), outcome))
        return answer

    def _ask(self, build: Any) -> Answer | None:
        """Send on the kept connection. Reconnect once if the server closed it as idle."""
        self._sent += 1
        message = build(self._own)
        for _ in range(2):
            wire, fresh = self._wire, self._wire is None
            if wire is None:
                wire = Wire(self.server.port, 120)
            self._wire = None
            try:
                wire.send(message)
                answer = wire.answer()
            except (OSError, http.client.HTTPException):
                try:  # the server may have sent a refusal although sending failed
                    answer = wire.answer()
                except (OSError, http.client.HTTPException):
                    wire.socket.close()
                    if fresh:
                        return None
                    continue
            if answer.headers.get("connection", "").lower() == "close":
                wire.socket.close()
            else:
                self._wire = wire
            return answer
        return None


def _digest(answer: Answer | None) -> str:
    return hashlib.sha256(answer.body).hexdigest() if answer is not None else ""


def _rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of another process, all threads, in seconds (clock_getcpuclockid(3) on Linux)."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_mib(pid: int) -> tuple[float, float]:
    """Return the current and the peak resident memory in MiB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def _without_subject(answer: Answer) -> bool:
    """Return whether this is remove.bg's error for an empty cut-out, which does not refuse the file."""
    return b"unknown_foreground" in answer.body


def _wrong_picture(answer: Answer) -> str:
    kind = answer.headers["content-type"].split(";")[0]
    if kind in ("application/zip", "multipart/mixed", "application/json"):
        return "" if answer.body else "an empty answer"
    formats = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
    if kind not in formats:
        return f"content type {kind}"
    try:
        with Image.open(io.BytesIO(answer.body)) as picture:
            picture.load()
            size, found = picture.size, picture.format
    except Exception as exc:
        return f"not a picture: {exc!r}"
    names = ("x-image-width", "x-image-height") if "x-image-width" in answer.headers else ("x-width", "x-height")
    said = tuple(int(answer.headers.get(name, -1)) for name in names)
    if found != formats[kind] or (said != size and said != (-1, -1)):
        return f"{found} of {size}, announced as {kind} of {said}"
    return ""


def _wrong_refusal(answer: Answer, path: str, field: str) -> str:
    if answer.headers["content-type"] != "application/json":
        return f"content type {answer.headers['content-type']}"
    try:
        body = json.loads(answer.body)
    except ValueError:
        return f"not JSON: {answer.body[:100]!r}"
    keys = next((keys for prefix, keys in _KEYS.items() if path.startswith(prefix)), {"code", "message", "request_id"})
    if not keys <= body.keys() or body.keys() - keys - {"details"}:
        return f"members {sorted(body)} in another dialect's words"
    if "request_id" in keys and body["request_id"] != answer.headers["x-request-id"]:
        return "another request's id"
    text = answer.body.decode()
    if found := next((leak for leak in _LEAKS if leak in text), None):
        return f"says too much ({found}): {text[:200]}"
    of_size = (
        b"too_large" in answer.body or b"resolution_too_high" in answer.body or b"Maximum file size" in answer.body
    )
    named = field in text or "Invalid value for '" in text
    if field and not named and not of_size and not _without_subject(answer):
        return f"does not name '{field}': {text[:200]}"
    return ""
