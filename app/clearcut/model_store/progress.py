"""A progress bar for terminals. Other outputs, such as log files, get no progress."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 30
INTERVAL_S = 0.1


class ProgressBar:
    """Draws a progress line on ``out`` if that is a terminal."""

    def __init__(self, label: str, out: TextIO = sys.stderr) -> None:
        self._label = label
        self._out = out
        self._tty = out.isatty()
        self._begun = time.monotonic()
        self._start: int | None = None
        self._drawn = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` bytes have arrived; ``total`` is None if it is unknown."""
        if self._start is None:
            self._start = done
        now = time.monotonic()
        if not self._tty or (now - self._drawn < INTERVAL_S and done != total):
            return
        self._drawn = now
        rate = (done - self._start) / 1e6 / max(now - self._begun, 1e-3)
        self._out.write(f"\r{line(self._label, done, total)} {rate:.1f} MB/s\x1b[K")
        self._out.flush()

    def show_retry(self, reason: str, attempt: int, attempts: int, pause_s: float) -> None:
        """Show that a download is interrupted and continues after a pause. Also on outputs that are no terminals."""
        self.end()
        self._drawn = 0.0
        self._out.write(f"{self._label}: {reason}; attempt {attempt} of {attempts} in {pause_s:g} s\n")
        self._out.flush()

    def end(self) -> None:
        """End the line."""
        if self._tty and self._drawn:
            self._out.write("\n")


def line(label: str, done: int, total: int | None) -> str:
    """Return the progress as text, without the rate."""
    if not total:
        return f"{label} {done / 1e6:.1f} MB"
    bar = ("#" * (WIDTH * done // total)).ljust(WIDTH, ".")
    return f"{label} [{bar}] {100 * done // total:3d}% {done / 1e6:.1f}/{total / 1e6:.1f} MB"
