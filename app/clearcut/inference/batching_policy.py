"""The rules of the batcher, without its threads: which images wait, for how long, and which run next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from .cost_model import CostModel
from .pending import PendingInference

LOW_PRIORITY_WAIT_S = 0.25
"""Maximum time that a low-priority image waits for announced images, seconds. It holds memory meanwhile."""


@dataclass(frozen=True, slots=True)
class BatchSelection:
    """Entries that were taken from the queue."""

    chosen: list[PendingInference]
    """Entries of the next batch."""
    expired: list[PendingInference]
    """Entries without enough time for a run before their deadline."""
    cancelled: int
    """Number of entries that were cancelled."""


@dataclass(eq=False, slots=True)
class PendingArrival:
    """An announced request that has not submitted its tensor yet. It ends once: by submission or by withdrawal."""

    pending: bool = True


class InferenceQueue:
    """A first-in, first-out queue. Low-priority entries run one at a time, while there are no others.

    A second run of a request goes before the first runs of others. The request holds its decoded image, and it has
    waited once.

    It is not thread-safe: the batcher's lock guards it.
    """

    def __init__(self, cost: CostModel, max_delay_s: float, clock: Callable[[], float]) -> None:
        """
        Args:
            cost: durations of runs.
            max_delay_s: maximum time that the oldest entry waits for announced requests.
            clock: of the deadlines.
        """
        self.announced = 0
        """Number of requests that are announced and not yet submitted."""
        self.idle_workers = 0
        """Number of workers that wait for a batch."""
        self._cost = cost
        self._max_delay_s = max_delay_s
        self._clock = clock
        self._entries: deque[PendingInference] = deque()
        self._low_priority: deque[PendingInference] = deque()

    def __len__(self) -> int:
        """Number of entries without the low-priority ones."""
        return len(self._entries)

    @property
    def empty(self) -> bool:
        """True if no entry waits, of any priority."""
        return not (self._entries or self._low_priority)

    def append(self, entry: PendingInference) -> None:
        """Add an entry at the end; a follow-up behind the other follow-ups."""
        queue = self._queue_of(entry)
        if entry.follow_up:
            queue.insert(sum(1 for _ in takewhile(lambda each: each.follow_up, queue)), entry)
        else:
            queue.append(entry)

    def remove(self, entry: PendingInference) -> bool:
        """Remove an entry; return False if it is not in the queue."""
        try:
            self._queue_of(entry).remove(entry)
        except ValueError:
            return False
        return True

    def clear(self) -> list[PendingInference]:
        """Remove and return all entries."""
        entries = [*self._entries, *self._low_priority]
        self._entries.clear()
        self._low_priority.clear()
        return entries

    def _queue_of(self, entry: PendingInference) -> deque[PendingInference]:
        return self._low_priority if entry.low_priority else self._entries

    def end_arrival(self, arrival: PendingArrival) -> bool:
        """End an announcement, once; return True if no other request is announced now."""
        if not arrival.pending:
            return False
        arrival.pending = False
        self.announced -= 1
        return self.announced == 0

    def wait_s(self) -> float:
        """Return the seconds for which a queue with entries waits for more; 0 or less means that a batch must run.

        The queue does not wait if the batch is full, if no request is announced, or if another worker is idle.
        """
        if not self._entries:
            waits = self.announced > 0 and self.idle_workers <= 1
            return self._low_priority[0].enqueued + LOW_PRIORITY_WAIT_S - self._clock() if waits else 0.0
        if len(self._entries) >= self._cost.largest or self.announced == 0 or self.idle_workers > 1:
            return 0.0
        return self._entries[0].enqueued + self._max_delay_s - self._clock()

    def select_batch(self) -> BatchSelection:
        """Take the next batch from the queue, oldest first, and leave the other idle workers their share."""
        now = self._clock()
        shortest_s = self._cost.seconds(self._cost.smallest)
        queue = self._entries or self._low_priority
        limit = min(self._cost.largest, math.ceil(len(self._entries) / max(1, self.idle_workers))) or 1
        chosen: list[PendingInference] = []
        expired: list[PendingInference] = []
        cancelled = 0
        while queue and len(chosen) < limit:
            entry = queue.popleft()
            if entry.future.done():
                cancelled += 1
            elif entry.deadline is not None and now + shortest_s > entry.deadline:
                expired.append(entry)
            else:
                chosen.append(entry)
        count = self._cost.take(len(chosen)) if chosen else 0
        while self._misses_deadline(chosen[:count], now) and (fewer := self._cost.below(count)) < count:
            count = fewer
        queue.extendleft(reversed(chosen[count:]))
        return BatchSelection(chosen[:count], expired, cancelled)

    def _misses_deadline(self, entries: list[PendingInference], now: float) -> bool:
        """Return whether one run of these entries would end after one of their deadlines."""
        finish = now + (self._cost.seconds(self._cost.bucket_for(len(entries))) if entries else 0.0)
        return any(entry.deadline is not None and finish > entry.deadline for entry in entries)
