"""One engine and what its thread does with a batch: fill, run, isolate the item at fault, deliver."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from clearcut.errors import InternalError

from .cost_model import CostModel
from .pending import PendingInference, deliver_results
from .types import F32, BatchObserver, Engine, FatalEngineError, Inference

logger = logging.getLogger(__name__)


class GuardedObserver:
    """Passes on to an observer, whose faults are logged and never reach a lane."""

    def __init__(self, observer: BatchObserver | None) -> None:
        self._observer = observer

    def batch_done(self, size: int, bucket: int, run_s: float) -> None:
        if self._observer is not None:
            try:
                self._observer.batch_done(size, bucket, run_s)
            except Exception:
                logger.exception("batch observer failed")

    def entry_dropped(self, reason: str) -> None:
        if self._observer is not None:
            try:
                self._observer.entry_dropped(reason)
            except Exception:
                logger.exception("batch observer failed")


class EngineWorker:
    """Used by one thread; others only read ``running``, ``begun`` and ``bucket``."""

    def __init__(self, engine: Engine, cost: CostModel, clock: Callable[[], float], observer: BatchObserver) -> None:
        self.running: Sequence[PendingInference] = ()
        """What it has taken and not yet answered; written under the batcher's lock."""
        self.begun: float | None = None
        """When the run in progress began."""
        self.bucket = cost.smallest
        self._engine = engine
        self._cost = cost
        self._clock = clock
        self._observer = observer
        self._buffers: dict[int, F32] = {}

    def run(self, entries: Sequence[PendingInference]) -> None:
        """Answer every entry: with its matte or, when it fails even on its own, with InternalError.

        When a batch fails, its halves are run again, and so on down to the item at fault: its mates do not suffer.

        Raises:
            FatalEngineError: no entry that is left can be answered.
        """
        bucket = self._cost.bucket_for(len(entries))
        self.bucket, self.begun = bucket, self._clock()
        begun = self.begun
        try:
            batch = self._fill(entries, bucket)
            values = self._engine.run(batch)
            if np.may_share_memory(values, batch):  # a view of a buffer that the next batch overwrites
                values = values.copy()
            if values.ndim != 3 or values.shape[0] != bucket:
                raise ValueError(f"engine answered shape {values.shape} to a batch of {bucket}")
        except FatalEngineError:
            raise
        except Exception as exc:
            if len(entries) == 1:
                logger.exception("inference of one item failed")
                fault = InternalError()
                fault.__cause__ = exc
                deliver_results([(entries[0], fault)])
                return
            logger.warning("a batch of %d failed and is run again in halves: %s", len(entries), exc)
            middle = len(entries) // 2
            for half in (entries[:middle], entries[middle:]):
                if live := [entry for entry in half if not entry.future.done()]:
                    self.run(live)
            return
        finally:
            self.begun = None
        run_s = self._clock() - begun
        self._cost.observe(bucket, run_s)
        deliver_results(
            (entry, Inference(row, begun - entry.enqueued, run_s, len(entries)))
            for entry, row in zip(entries, values, strict=False)  # the rest are the padding's
        )
        self._observer.batch_done(len(entries), bucket, run_s)

    def _fill(self, entries: Sequence[PendingInference], bucket: int) -> F32:
        """f32[bucket,3,S,S] with zeros after the last entry."""
        if bucket == 1:
            return entries[0].tensor[None]
        shape = (bucket, *entries[0].tensor.shape)
        buffer = self._buffers.get(bucket)
        if buffer is None or buffer.shape != shape:
            buffer = self._buffers[bucket] = np.empty(shape, dtype=np.float32)
        for row, entry in enumerate(entries):
            if entry.tensor.shape != shape[1:]:  # assigning would broadcast some shapes silently
                raise ValueError(f"tensors of shapes {entry.tensor.shape} and {shape[1:]} in one batch")
            buffer[row] = entry.tensor
        buffer[len(entries) :] = 0.0
        return buffer
