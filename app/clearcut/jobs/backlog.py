"""The jobs that wait on all nodes: their maximum number, shares of accounts, and the expected time."""

from __future__ import annotations

from collections import Counter

from clearcut.errors import Overloaded, RateLimited, retry_after_s
from clearcut.fair_share import exceeds_share

from .nodes import JobCounts
from .types import ANONYMOUS

_FIRST_JOB_S = 0.5
"""Processing time of a job in seconds, until the first one is measured."""


class Backlog:
    """The waiting jobs on all nodes, counted every few seconds, and the mean processing time of a job.

    Args:
        capacity: maximum number of waiting jobs.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.counts = JobCounts(0, 0, {})
        self._accepted: Counter[str] = Counter()
        """By partition: jobs that this process has accepted since the last count."""
        self._job_s = _FIRST_JOB_S
        """Moving average of the processing time."""

    @property
    def waiting(self) -> int:
        """Number of waiting jobs on all nodes."""
        return self.counts.waiting + self._accepted.total()

    def update(self, counts: JobCounts) -> None:
        """Replace the counts by new ones of the database."""
        self.counts = counts
        self._accepted.clear()

    def count_accepted(self, partition: str) -> None:
        """Count a job that this process has accepted."""
        self._accepted[partition] += 1

    def record_job(self, seconds: float) -> None:
        """Record the processing time of a finished job."""
        self._job_s = 0.9 * self._job_s + 0.1 * max(0.05, seconds)

    def estimate_s(self) -> float:
        """Return the estimated seconds until a job that is accepted now has finished."""
        return (self.waiting + 1) * self._job_s

    def require_capacity(self, partition: str | None) -> None:
        """Check that one more job can wait.

        Args:
            partition: an account, or all callers without an account; None in a service without accounts.

        Raises:
            Overloaded: the capacity is used up.
            RateLimited: the partition has used its share of the capacity (``clearcut.fair_share``).
        """
        retry_after = retry_after_s(self.estimate_s())
        if self.waiting >= self._capacity:
            raise Overloaded(f"{self.waiting} jobs are waiting", retry_after=retry_after)
        if partition is None:
            return
        own = self.counts.by_partition.get(partition, 0) + self._accepted[partition]
        if own and exceeds_share(own + 1, self._capacity - self.waiting - 1):
            owner = "Callers without a key have" if partition == ANONYMOUS else "The key has"
            raise RateLimited(f"{owner} {own} waiting jobs, the maximum for one key", retry_after=retry_after)
