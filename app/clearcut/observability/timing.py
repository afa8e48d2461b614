"""Duration of each stage of a request, and the request's deadline.

A ``RequestTiming`` starts at the first byte of a request. Its stage names are the names of the pipeline's steps, and
also appear in ``Server-Timing``, in the metrics and in the log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from clearcut.errors import ClientGone, DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Stage:
    """Total duration of a stage."""

    name: str
    seconds: float
    note: str = ""
    """Description, such as ``batch=4``."""


@dataclass(frozen=True, slots=True)
class StageInterval:
    """One interval of a stage. A request with several outputs has several intervals of a stage."""

    name: str
    begun: float
    """Start, seconds after the first byte of the request."""
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The trace and span of the client (W3C Trace Context)."""

    trace_id: str
    """32 hexadecimal digits, not all zero."""
    span_id: str
    """16 hexadecimal digits, not all zero."""
    sampled: bool
    """Whether the client records the trace."""


_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parse_traceparent(headers: Sequence[str]) -> TraceParent | None:
    """Parse the ``traceparent`` headers of a request; return None unless there is exactly one valid header."""
    match = _TRACEPARENT.fullmatch(headers[0].strip(" \t")) if len(headers) == 1 else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if not match[2].strip("0") or not match[3].strip("0"):
        return None
    return TraceParent(match[2], match[3], bool(int(match[4], 16) & 1))


class RequestTiming:
    """The stages of one request, in the order of their ends. Only one thread uses it at a time."""

    __slots__ = ("_clock", "abandoned", "current", "deadline", "intervals", "stages", "started")

    def __init__(self, budget_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            budget_s: seconds until the deadline.
            clock: seconds, monotonic.
        """
        self._clock = clock
        self.started = clock()
        self.deadline = self.started + budget_s
        self.stages: list[Stage] = []
        self.intervals: list[StageInterval] = []
        self.current = "read"
        """Name of the latest stage; ``read`` also before the body is read."""
        self.abandoned = False
        """True after the client has disconnected. The next ``stage`` then fails."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage.

        Raises:
            DeadlineExceeded: the deadline passed before the stage began.
            ClientGone: the request was abandoned before the stage began.
        """
        self.current = name
        if self.abandoned:
            raise ClientGone
        begun = self._clock()
        if begun > self.deadline:
            raise DeadlineExceeded(name)
        try:
            yield
        finally:
            self.add(name, self._clock() - begun)

    def add(self, name: str, seconds: float, note: str = "", *, ago: float = 0.0) -> None:
        """Record a stage. A stage with the same name, from another output or a second run, gets the sum.

        Args:
            name: of the stage.
            seconds: duration.
            note: description.
            ago: seconds since the end of the stage.
        """
        self.intervals.append(StageInterval(name, self.elapsed() - ago - seconds, seconds, note))
        for index, stage in enumerate(self.stages):
            if stage.name == name:
                self.stages[index] = Stage(name, stage.seconds + seconds, note)
                return
        self.stages.append(Stage(name, seconds, note))

    def elapsed(self) -> float:
        """Return the seconds since the first byte."""
        return self._clock() - self.started

    def remaining(self) -> float:
        """Return the seconds until the deadline; negative after it."""
        return self.deadline - self._clock()

    def server_timing(self) -> str:
        """Return the value of a Server-Timing header (W3C Server Timing), in milliseconds."""
        parts = [
            f"{stage.name};dur={stage.seconds * 1000:.2f}" + (f';desc="{stage.note}"' if stage.note else "")
            for stage in self.stages
        ]
        return ", ".join([*parts, f"total;dur={self.elapsed() * 1000:.2f}"])
