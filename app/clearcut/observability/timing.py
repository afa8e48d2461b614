"""Where one request's time went, stage by stage, and when it must be done.

A ``RequestTiming`` is made at a request's first byte and travels with it. Its stage names are the pipeline's step
names: the
same words appear in ``Server-Timing``, in the metrics and in the log line.
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
    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class StageInterval:
    """One stretch of a stage; a stage with several outputs has several."""

    name: str
    begun: float
    """Seconds after the request's first byte."""
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The caller's place in a trace (W3C Trace Context)."""

    trace_id: str
    """32 hexadecimal digits, not all zero."""
    span_id: str
    """16 of them."""
    sampled: bool


_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parse_traceparent(given: Sequence[str]) -> TraceParent | None:
    """What the ``traceparent`` headers of a request say; None unless there is exactly one and it is well-formed."""
    match = _TRACEPARENT.fullmatch(given[0].strip(" \t")) if len(given) == 1 else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if not match[2].strip("0") or not match[3].strip("0"):
        return None
    return TraceParent(match[2], match[3], bool(int(match[4], 16) & 1))


class RequestTiming:
    """Stages in the order in which they ended. One thread writes at a time: a request is in one place at a time."""

    __slots__ = ("_clock", "abandoned", "current", "deadline", "moments", "stages", "started")

    def __init__(self, budget_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.started = clock()
        self.deadline = self.started + budget_s
        self.stages: list[Stage] = []
        self.moments: list[StageInterval] = []
        self.current = "read"
        self.abandoned = False
        """Set once nobody waits for the answer any more; the next ``stage`` then does not begin."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage.

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
        """Record a stage; one that was there before (a second output of one request) adds to it.

        Args:
            ago: how long ago it ended, seconds.
        """
        self.moments.append(StageInterval(name, self.elapsed() - ago - seconds, seconds, note))
        for place, stage in enumerate(self.stages):
            if stage.name == name:
                self.stages[place] = Stage(name, stage.seconds + seconds, note)
                return
        self.stages.append(Stage(name, seconds, note))

    def elapsed(self) -> float:
        """Seconds since the first byte."""
        return self._clock() - self.started

    def remaining(self) -> float:
        """Seconds to the deadline; negative once it has passed."""
        return self.deadline - self._clock()

    def server_timing(self) -> str:
        """The value of a Server-Timing header (W3C Server Timing): milliseconds, batch size as description."""
        parts = [
            f"{stage.name};dur={stage.seconds * 1000:.2f}" + (f';desc="{stage.note}"' if stage.note else "")
            for stage in self.stages
        ]
        return ", ".join([*parts, f"total;dur={self.elapsed() * 1000:.2f}"])
