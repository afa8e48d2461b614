"""Duration of a model run for each batch size: how to split a queue into batches, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NEWEST_WEIGHT = 0.2
"""Weight of the newest run in the moving average: it follows a change within ten runs and ignores single outliers."""
_MAX_GROWTH = 5
"""Maximum of the moving average, relative to the first measurement. Runs of a model that gets only idle CPU time can
take minutes; with their average the service would refuse all further requests."""


class CostModel:
    """Seconds of a run for each batch size (bucket), as a moving average that starts with the warm-up measurements.

    A bucket without a measurement costs 0 until it has run. Workers report without a lock: storing one float is atomic,
    and losing one sample of two concurrent ones does no harm.
    """

    def __init__(self, buckets: Sequence[int], cost_s: Mapping[int, float] | None = None) -> None:
        """
        Args:
            buckets: permitted batch sizes.
            cost_s: measured seconds of a run by bucket.

        Raises:
            ValueError: there is no bucket, or one is below 1.
        """
        self.buckets = tuple(sorted(set(buckets)))
        if not self.buckets or self.buckets[0] < 1:
            raise ValueError(f"expected batch sizes of at least 1, got {list(buckets)}")
        self.smallest, self.largest = self.buckets[0], self.buckets[-1]
        self._cost_s = {bucket: cost for bucket, cost in (cost_s or {}).items() if bucket in self.buckets}
        self._max_s = {bucket: _MAX_GROWTH * cost for bucket, cost in self._cost_s.items()}

    def observe(self, bucket: int, run_s: float) -> None:
        """Record the duration of a run, seconds."""
        average = self._cost_s.get(bucket, run_s)
        limit = self._max_s.setdefault(bucket, _MAX_GROWTH * run_s)
        self._cost_s[bucket] = min(limit, average + _NEWEST_WEIGHT * (run_s - average))

    def seconds(self, bucket: int) -> float:
        """Return the expected seconds of a run; 0 without a measurement."""
        return self._cost_s.get(bucket, 0.0)

    def bucket_for(self, count: int) -> int:
        """Return the smallest bucket that holds ``count`` images (1 to the largest bucket)."""
        return next(bucket for bucket in self.buckets if bucket >= count)

    def take(self, waiting: int) -> int:
        """Return how many of ``waiting`` images (at least 1) to run now.

        Either all of them run in one padded batch, or as many as fill the next smaller bucket. The faster way for all
        images is used, and one padded run if both take equally long.
        """
        if waiting >= self.largest:
            return self.largest
        padded = self.bucket_for(waiting)
        filled = max((bucket for bucket in self.buckets if bucket <= waiting), default=padded)
        if filled in (padded, waiting):
            return waiting
        if self.seconds(padded) <= self.seconds(filled) + self.total_s(waiting - filled):
            return waiting
        return filled

    def below(self, count: int) -> int:
        """Return the largest bucket smaller than ``count``, or ``count`` if there is none."""
        return max((bucket for bucket in self.buckets if bucket < count), default=count)

    def total_s(self, count: int) -> float:
        """Return the seconds for ``count`` images in consecutive runs of one worker."""
        full_runs, remaining = divmod(count, self.largest)
        seconds = full_runs * self.seconds(self.largest)
        while remaining:
            batch = self.take(remaining)
            seconds += self.seconds(self.bucket_for(batch))
            remaining -= batch
        return seconds
