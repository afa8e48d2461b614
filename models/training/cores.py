"""Training beside other work: use the cores that others leave.

A niced process with two compute threads on a half-busy machine runs at the pace of its starved
thread and loses half of its time in barriers. Measured on two cores with one of them busy: 13
pictures a second with two threads, 27 with one. So the number of threads follows the load that
processes of normal priority put on the machine (``/proc/stat`` keeps niced time apart).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

_STAT = Path("/proc/stat")


class SharedCores:
    """Sets torch's thread count to the cores not used by processes of normal priority."""

    def __init__(self, most: int, every_s: float = 2.0):
        self._most, self._every = most, every_s
        self._last = (time.monotonic(), self._busy())
        torch.set_num_threads(most)

    @staticmethod
    def _busy() -> float:
        """Core-seconds spent so far by processes of normal priority; 0 where nobody says."""
        if not _STAT.exists():
            return 0.0
        user, _nice, system, *_ = (int(v) for v in _STAT.read_text().split("\n")[0].split()[1:])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def update(self) -> None:
        """Call between steps; acts every few seconds."""
        now = time.monotonic()
        then, busy = self._last
        if now - then < self._every:
            return
        used = (self._busy() - busy) / (now - then)
        self._last = (now, self._busy())
        torch.set_num_threads(max(1, min(self._most, round((os.cpu_count() or 1) - used))))
