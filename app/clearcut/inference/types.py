"""What passes between the batcher and those who use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


class FatalEngineError(Exception):
    """The device under a session is lost (a CUDA error, for one): no later run in this process can succeed."""


class Engine(Protocol):
    """One session, owned by one thread. ``run`` is never called from two threads at once."""

    def run(self, batch: F32) -> F32:
        """f32[n,3,S,S] normalised -> f32[n,S,S] in 0..1. ``n`` is always one of the warmed buckets.

        The answer is the caller's: the engine does not write to it again. The batch is the engine's until it returns.

        Raises:
            FatalEngineError: no later run can succeed; the batcher fails as a whole.
            Exception: this batch cannot be answered; the batcher looks for the item at fault.
        """
        ...


@dataclass(frozen=True, slots=True)
class Inference:
    """One item's answer and where its time went."""

    values: F32
    """f32[S,S] in 0..1"""
    queue_s: float
    """Seconds between submission and the start of its run."""
    run_s: float
    """Seconds of the run that it was part of."""
    batch_size: int
    """Items in that run, padding not counted."""


class BatchObserver(Protocol):
    """Told of what happens in the batcher; the service feeds metrics with it.

    ``batch_done`` comes from a lane's thread, ``entry_dropped`` from a lane's or an event loop's. Both must be quick.
    """

    def batch_done(self, size: int, bucket: int, run_s: float) -> None:
        """``size`` items ran as a batch of ``bucket`` (the rest was padding)."""
        ...

    def entry_dropped(self, reason: str) -> None:
        """reason: cancelled | deadline | full | failed"""
        ...
