"""One engine and the work of its thread: fill a batch, run it, isolate an image that fails, deliver the results."""

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
    """Forwards events to an observer. Exceptions of the observer are logged and never reach a worker."""

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
    """Used by one thread. Other threads only read ``running``, ``begun`` and ``bucket``."""

    def __init__(self, engine: Engine, cost: CostModel, clock: Callable[[], float], observer: BatchObserver) -> None:
        self.running: Sequence[PendingInference] = ()
        """Entries that the worker has taken and not yet completed. Written under the batcher's lock."""
        self.begun: float | None = None
        """Start of the current run, on the batcher's clock."""
        self.bucket = cost.smallest
        """Batch size of the current run."""
        self._engine = engine
        self._cost = cost
        self._clock = clock
        self._observer = observer
        self._buffers: dict[int, F32] = {}

    def run(self, entries: Sequence[PendingInference]) -> None:
        """Complete each entry with its matte, or with InternalError if it fails even alone.

        If a batch fails, its halves run again, down to the entry that causes the failure. The others succeed.

        Raises:
            FatalEngineError: no remaining entry can succeed.
        """
        bucket = self._cost.bucket_for(len(entries))
        self.bucket, self.begun = bucket, self._clock()
        begun = self.begun
        try:
            batch = self._fill(entries, bucket)
            values = self._engine.run(batch)
            if np.may_share_memory(values, batch):  # the next batch would overwrite a view of the buffer
                values = values.copy()
            if values.ndim != 3 or values.shape[0] != bucket:
                raise ValueError(f"the engine returned shape {values.shape} for a batch of {bucket}")
        except FatalEngineError:
            raise
        except Exception as exc:
            if len(entries) == 1:
                logger.exception("inference of one image failed")
                error = InternalError()
                error.__cause__ = exc
                deliver_results([(entries[0], error)])
                return
            logger.warning("a batch of %d failed and runs again in halves: %s", len(entries), exc)
            middle = len(entries) // 2
            for half in (entries[:middle], entries[middle:]):
                if unfinished := [entry for entry in half if not entry.future.done()]:
                    self.run(unfinished)
            return
        finally:
            self.begun = None
        run_s = self._clock() - begun
        self._cost.observe(bucket, run_s)
        deliver_results(
            (entry, Inference(row, begun - entry.enqueued, run_s, len(entries)))
            for entry, row in zip(entries, values, strict=False)  # further rows are padding
        )
        self._observer.batch_done(len(entries), bucket, run_s)

    def _fill(self, entries: Sequence[PendingInference], bucket: int) -> F32:
        """Return f32[bucket,3,S,S], with zeros after the last entry."""
        if bucket == 1:
            return entries[0].tensor[None]
        shape = (bucket, *entries[0].tensor.shape)
        buffer = self._buffers.get(bucket)
        if buffer is None or buffer.shape != shape:
            buffer = self._buffers[bucket] = np.empty(shape, dtype=np.float32)
        for row, entry in enumerate(entries):
            if entry.tensor.shape != shape[1:]:  # an assignment would broadcast some shapes silently
                raise ValueError(f"tensors of shapes {entry.tensor.shape} and {shape[1:]} in one batch")
            buffer[row] = entry.tensor
        buffer[len(entries) :] = 0.0
        return buffer
