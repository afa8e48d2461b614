"""Who waits, for how long, and who runs next: the batcher's rules, without its threads."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .cost_model import CostModel
from .pending import PendingInference


@dataclass(frozen=True, slots=True)
class BatchSelection:
    """What one look at the queue took out of it."""

    chosen: list[PendingInference]
    """To be run now, as one batch."""
    expired: list[PendingInference]
    """With no time left to be answered in."""
    cancelled: int


@dataclass(eq=False, slots=True)
class PendingArrival:
    """One request whose tensor is on its way. Settled once: when it is submitted, or when it is given up."""

    pending: bool = True


LOW_PRIORITY_WAIT_S = 0.25
"""Longest that one which can wait is passed over for others that are only expected: it holds memory."""


class EntryQueue:
    """First in, first out; those that can wait go one by one, while there are no others. Not thread-safe: the batcher's
    lock guards it.

    Args:
        max_delay_s: longest that the oldest entry waits for others that are expected.
    """

    def __init__(self, cost: CostModel, max_delay_s: float, clock: Callable[[], float]) -> None:
        self.inbound = 0
        """Requests known to be on their way."""
        self.free_lanes = 0
        """Lanes that look at the queue or wait for it."""
        self._cost = cost
        self._max_delay_s = max_delay_s
        self._clock = clock
        self._entries: deque[PendingInference] = deque()
        self._later: deque[PendingInference] = deque()

    def __len__(self) -> int:
        """Without those that can wait."""
        return len(self._entries)

    @property
    def empty(self) -> bool:
        return not (self._entries or self._later)

    def append(self, entry: PendingInference) -> None:
        self._line(entry).append(entry)

    def remove(self, entry: PendingInference) -> bool:
        """False when it is not here (any more)."""
        try:
            self._line(entry).remove(entry)
        except ValueError:
            return False
        return True

    def clear(self) -> list[PendingInference]:
        entries = [*self._entries, *self._later]
        self._entries.clear()
        self._later.clear()
        return entries

    def _line(self, entry: PendingInference) -> deque[PendingInference]:
        return self._later if entry.later else self._entries

    def settle(self, arrival: PendingArrival) -> bool:
        """Count an arrival as over, once. True when nobody else is expected from now on."""
        if not arrival.pending:
            return False
        arrival.pending = False
        self.inbound -= 1
        return self.inbound == 0

    def patience(self) -> float:
        """Seconds for which a queue that is not empty should go on waiting for company; 0 or less: leave now.

        No wait when the batch is full, nobody is expected, or another lane is free to take whoever comes next.
        """
        if not self._entries:
            expected = self.inbound > 0 and self.free_lanes <= 1
            return self._later[0].enqueued + LOW_PRIORITY_WAIT_S - self._clock() if expected else 0.0
        if len(self._entries) >= self._cost.largest or self.inbound == 0 or self.free_lanes > 1:
            return 0.0
        return self._entries[0].enqueued + self._max_delay_s - self._clock()

    def pick(self) -> BatchSelection:
        """Decide who runs now, oldest first, leaving the other free lanes their share."""
        now = self._clock()
        shortest_s = self._cost.seconds(self._cost.smallest)
        line = self._entries or self._later
        room = min(self._cost.largest, math.ceil(len(self._entries) / max(1, self.free_lanes))) or 1
        chosen: list[PendingInference] = []
        expired: list[PendingInference] = []
        cancelled = 0
        while line and len(chosen) < room:
            entry = line.popleft()
            if entry.future.done():
                cancelled += 1
            elif entry.deadline is not None and now + shortest_s > entry.deadline:
                expired.append(entry)
            else:
                chosen.append(entry)
        count = self._cost.take(len(chosen)) if chosen else 0
        while self._too_late(chosen[:count], now) and (fewer := self._cost.below(count)) < count:
            count = fewer
        line.extendleft(reversed(chosen[count:]))
        return BatchSelection(chosen[:count], expired, cancelled)

    def _too_late(self, entries: list[PendingInference], now: float) -> bool:
        """Whether running these together would miss the tightest of their deadlines."""
        finish = now + (self._cost.seconds(self._cost.bucket_for(len(entries))) if entries else 0.0)
        return any(entry.deadline is not None and finish > entry.deadline for entry in entries)
