"""Types that the batcher shares with its engines and callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


class FatalEngineError(Exception):
    """The device of a session is lost, for example by a CUDA error: no later run in this process can succeed."""


class Engine(Protocol):
    """One session, owned by one thread. ``run`` is never called from two threads at once."""

    def run(self, batch: F32) -> F32:
        """Return the mattes of a batch as a new array, to which the engine does not write again.

        Args:
            batch: f32[n,3,S,S], normalized; n is a batch size for which the engine is warmed. The caller does not
                change it during the call.

        Returns:
            f32[n,S,S] in 0..1.

        Raises:
            FatalEngineError: no later run can succeed; the whole batcher fails.
            Exception: the batch failed; the batcher searches for the image that causes this.
        """
        ...


@dataclass(frozen=True, slots=True)
class Inference:
    """The result of one image."""

    values: F32
    """The matte, f32[S,S] in 0..1."""
    queue_s: float
    """Seconds from submission to the start of the run."""
    run_s: float
    """Duration of the run, seconds."""
    batch_size: int
    """Images in the run, without padding."""


class BatchObserver(Protocol):
    """Receives the events of the batcher, for metrics. Both methods must return fast.

    A worker's thread calls ``batch_done``. A worker's thread or an event loop calls ``entry_dropped``.
    """

    def batch_done(self, size: int, bucket: int, run_s: float) -> None:
        """``size`` images ran in a batch of ``bucket``; the rest was padding."""
        ...

    def entry_dropped(self, reason: str) -> None:
        """An image left the queue without a run: cancelled, deadline, full or failed."""
        ...
