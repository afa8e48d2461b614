"""What a run of each batch size costs, and what follows from it: how to split, and how long a queue takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NEWEST = 0.2
"""Weight of the newest run in the moving average: follows a change within some ten runs, shrugs off one hiccup."""


class CostModel:
    """Seconds per bucket as a moving average, seeded by the warm-up. An unmeasured bucket counts as free until run.

    Lanes report without a lock: storing one float is atomic, and a sample lost to another lane's is no loss.

    Args:
        buckets: the batch sizes that may be run.
        cost_s: seconds a run, for those that were measured.

    Raises:
        ValueError: no bucket, or one below 1.
    """

    def __init__(self, buckets: Sequence[int], cost_s: Mapping[int, float] | None = None) -> None:
        self.buckets = tuple(sorted(set(buckets)))
        if not self.buckets or self.buckets[0] < 1:
            raise ValueError(f"expected batch sizes of at least 1, got {list(buckets)}")
        self.smallest, self.largest = self.buckets[0], self.buckets[-1]
        self._cost_s = {bucket: cost for bucket, cost in (cost_s or {}).items() if bucket in self.buckets}

    def observe(self, bucket: int, run_s: float) -> None:
        known = self._cost_s.get(bucket)
        self._cost_s[bucket] = run_s if known is None else known + _NEWEST * (run_s - known)

    def seconds(self, bucket: int) -> float:
        return self._cost_s.get(bucket, 0.0)

    def snapshot(self) -> dict[int, float]:
        """Seconds a run, of the buckets that have been run so far."""
        return {bucket: self._cost_s[bucket] for bucket in self.buckets if bucket in self._cost_s}

    def bucket_for(self, count: int) -> int:
        """The smallest bucket that holds ``count`` items (1 .. largest)."""
        return next(bucket for bucket in self.buckets if bucket >= count)

    def take(self, waiting: int) -> int:
        """How many of ``waiting`` items (>= 1) to run now: all, padded up, or as many as fill the bucket below.

        Whichever gets them all done sooner; on equal terms one padded run.
        """
        if waiting >= self.largest:
            return self.largest
        up = self.bucket_for(waiting)
        down = max((bucket for bucket in self.buckets if bucket <= waiting), default=up)
        if down in (up, waiting) or self.seconds(up) <= self.seconds(down) + self.total_s(waiting - down):
            return waiting
        return down

    def below(self, count: int) -> int:
        """The largest bucket smaller than ``count``, or ``count`` when there is none."""
        return max((bucket for bucket in self.buckets if bucket < count), default=count)

    def total_s(self, count: int) -> float:
        """Seconds for ``count`` items, run after run on one lane."""
        runs, rest = divmod(count, self.largest)
        seconds = runs * self.seconds(self.largest)
        while rest:
            now = self.take(rest)
            seconds += self.seconds(self.bucket_for(now))
            rest -= now
        return seconds
