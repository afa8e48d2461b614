"""The clock of all tests that control the time."""

from __future__ import annotations

import threading
import time


class FakeClock:
    """A clock in seconds that stands still until a test moves it.

    ``clock()`` returns ``clock.now`` in place of ``time.monotonic`` or ``time.time``. ``now`` may be set to any value.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.read_by_worker = threading.Semaphore(0)
        """Released at each read by an inference thread, so that a test can wait until the thread saw the time."""

    def __call__(self) -> float:
        if threading.current_thread().name.startswith("inference"):
            self.read_by_worker.release()
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def avoid_end_of_minute(seconds: float = 20) -> None:
    """Wait for the next minute if this one ends within ``seconds``: live servers limit rates by minute."""
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left + 0.1)
