"""Counts, rate and times of a bulk run, in constant memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_STEP = 1.02
"""Ratio of the limits of a bin; percentiles are exact within 1 %."""


@dataclass(slots=True)
class BatchSummary:
    """The results so far."""

    counts: Counter[str] = field(default_factory=Counter)
    """Number of images by status: ok, skipped or error."""
    codes: Counter[str] = field(default_factory=Counter)
    """Number of failed images by code."""
    _bins: Counter[int] = field(default_factory=Counter)

    def add(self, status: str, code: str, ms: float | None) -> None:
        """Count one image; ``ms`` is its time from the start of reading to the end of writing."""
        self.counts[status] += 1
        if code:
            self.codes[code] += 1
        if ms is not None:
            self._bins[math.floor(math.log(max(ms, 0.01), _STEP))] += 1

    @property
    def total(self) -> int:
        return self.counts.total()

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Return percentiles of the times of written images, milliseconds; 0 without any."""
        total, results = self._bins.total(), []
        for share in shares:
            seen, result = 0, 0.0
            for bin_, count in sorted(self._bins.items()):
                seen += count
                if seen >= share * total:
                    result = _STEP ** (bin_ + 0.5)
                    break
            results.append(round(result, 1))
        return results

    def as_dict(self, seconds: float) -> dict[str, object]:
        """Return the summary as JSON values.

        Args:
            seconds: duration of the run.
        """
        p50, p95, p99 = self.percentiles((0.50, 0.95, 0.99))
        return {
            "images": self.total,
            "written": self.counts["ok"],
            "skipped": self.counts["skipped"],
            "failed": self.counts["error"],
            "codes": dict(sorted(self.codes.items())),
            "seconds": round(seconds, 3),
            "images_per_second": round(self.counts["ok"] / seconds, 3) if seconds > 0 else 0.0,
            "ms": {"p50": p50, "p95": p95, "p99": p99},
        }
