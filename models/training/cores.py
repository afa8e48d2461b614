"""Thread count for training beside other processes.

On a partly busy machine a niced process with two threads loses time, because both wait for the slower one (two cores,
one busy: 13 images/s with two threads, 27 with one). The number of threads therefore follows the load of processes of
normal priority. ``/proc/stat`` counts niced time separately.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

_STAT = Path("/proc/stat")


class SharedCores:
    """Sets torch's thread count to the number of cores that processes of normal priority leave free."""

    def __init__(self, most: int, every_s: float = 2.0):
        self._most, self._every = most, every_s
        self._last = (time.monotonic(), self._busy())
        torch.set_num_threads(most)

    @staticmethod
    def _busy() -> float:
        """Return the core-seconds used by processes of normal priority, or 0 on systems without ``/proc/stat``."""
        if not _STAT.exists():
            return 0.0
        user, _nice, system, *_ = (int(v) for v in _STAT.read_text().split("\n")[0].split()[1:])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def update(self) -> None:
        """Adjust the thread count every few seconds. Call between steps."""
        now = time.monotonic()
        then, busy = self._last
        if now - then < self._every:
            return
        used = (self._busy() - busy) / (now - then)
        self._last = (now, self._busy())
        torch.set_num_threads(max(1, min(self._most, round((os.cpu_count() or 1) - used))))
