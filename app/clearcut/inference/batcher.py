"""The dynamic batcher: requests come from any number of event loops, and each engine has a thread that runs batches.

A single request never waits for others. Requests collect while all workers are busy, or for a moment while other
requests are announced (``announce``). A batch is selected at the start of its run, so that a cancelled request, or one
without enough time left, costs nothing. Every future is completed, even if a worker fails.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from clearcut.errors import ClearcutError, DeadlineExceeded, Draining, Failed, Overloaded, retry_after_s

from .batching_policy import InferenceQueue, PendingArrival
from .cost_model import CostModel
from .pending import PendingInference, deliver_results
from .types import F32, BatchObserver, Engine, Inference
from .worker import EngineWorker, GuardedObserver

logger = logging.getLogger(__name__)


class Batcher:
    """Combines concurrent requests into batches. All methods may be called from any thread."""

    def __init__(
        self,
        engines: Sequence[Engine],
        buckets: Sequence[int],
        capacity: int,
        max_delay_s: float,
        cost_s: Mapping[int, float] | None = None,
        observer: BatchObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        """
        Args:
            engines: each is used by one thread of its own.
            buckets: batch sizes that every engine accepts.
            capacity: maximum number of waiting images, without the low-priority ones.
            max_delay_s: maximum time that the oldest image waits for announced requests.
            cost_s: measured seconds of a run by bucket.
            observer: receives events.
            clock: of the deadlines.
            on_fatal: called once, from the failing thread, when the whole batcher has failed.

        Raises:
            ValueError: there is no engine or no bucket, or the capacity is below 1.
        """
        if not engines or capacity < 1:
            raise ValueError("a batcher needs at least one engine and a capacity of at least 1")
        self.capacity = capacity
        self._clock = clock
        self._on_fatal = on_fatal
        self._observer = GuardedObserver(observer)
        self._cost = CostModel(buckets, cost_s)
        self._workers = [EngineWorker(engine, self._cost, clock, self._observer) for engine in engines]
        self._threads: list[threading.Thread] = []
        # Guards the fields below and every worker's ``running``.
        self._changed = threading.Condition(threading.Lock())
        self._queue = InferenceQueue(self._cost, max_delay_s, clock)
        self._closing = False
        self._fatal: BaseException | None = None

    def start(self) -> None:
        """Start the workers' threads. They are daemons, because an engine that hangs must not block the exit."""
        for number, worker in enumerate(self._workers):
            name = f"inference-{number}" if len(self._workers) > 1 else "inference"
            thread = threading.Thread(target=self._run_worker, args=(worker,), name=name, daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    async def infer(
        self,
        tensor: F32,
        deadline: float | None = None,
        arrival: PendingArrival | None = None,
        low_priority: bool = False,
        follow_up: bool = False,
    ) -> Inference:
        """Return the matte of one image.

        Args:
            tensor: f32[3,S,S], normalized. Do not change it before this returns.
            deadline: latest time of the result, on the batcher's clock; None waits without limit.
            arrival: the announcement of this request, from ``announce``. It ends here.
            low_priority: run only while no other image waits or is announced. Such images do not count towards
                ``capacity``.
            follow_up: the request has had a run. Such an image goes before the others of its priority, and
                ``capacity`` does not limit it.

        Raises:
            Overloaded: ``capacity`` images are waiting.
            Draining: the batcher is closing.
            Failed: the batcher has failed.
            DeadlineExceeded: the result would come after the deadline.
            InternalError: inference of this image fails.
        """
        loop = asyncio.get_running_loop()
        entry = PendingInference(
            tensor,
            self._clock(),
            deadline,
            loop,
            loop.create_future(),
            low_priority=low_priority,
            follow_up=follow_up,
        )
        self._enqueue(entry, arrival)
        # Workers check deadlines when they select a batch. The timer reports an expired one while all are busy.
        self._start_timer(entry)
        try:
            return await entry.future
        except asyncio.CancelledError:
            if self._withdraw(entry):
                self._observer.entry_dropped("cancelled")
            raise
        finally:
            if entry.timer is not None:
                entry.timer.cancel()

    def _enqueue(self, entry: PendingInference, arrival: PendingArrival | None) -> None:
        with self._changed:
            if arrival is not None and self._queue.end_arrival(arrival):
                self._changed.notify_all()
            refusal: ClearcutError | None = None
            if self._fatal is not None:
                refusal = Failed()
            elif self._closing:
                refusal = Draining()
            elif not (entry.low_priority or entry.follow_up) and len(self._queue) >= self.capacity:
                refusal = Overloaded(retry_after=retry_after_s(self.predicted_wait()))
            else:
                self._queue.append(entry)
                self._changed.notify()
        if refusal is not None:
            if isinstance(refusal, Overloaded):
                self._observer.entry_dropped("full")
            raise refusal

    @contextmanager
    def announce(self) -> Iterator[PendingArrival]:
        """Announce a request that will submit a tensor. Pass the arrival to ``infer`` within the block.

        Leaving the block withdraws an announcement that has not ended.
        """
        arrival = PendingArrival()
        with self._changed:
            self._queue.announced += 1
        try:
            yield arrival
        finally:
            with self._changed:
                if self._queue.end_arrival(arrival):
                    self._changed.notify_all()

    def close(self, drain: bool, timeout: float) -> bool:
        """Reject new images and end the threads. This blocks: call it in a thread.

        Args:
            drain: process the waiting images; otherwise they fail with Draining.
            timeout: seconds. Images without a result after this time fail with Draining.

        Returns:
            Whether all threads have ended.
        """
        with self._changed:
            self._closing = True
            rejected = [] if drain else self._queue.clear()
            self._changed.notify_all()
        self._reject(rejected, Draining)
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._changed:
            rejected = [*self._queue.clear(), *self._running_entries()]
        self._reject(rejected, Draining)
        return not any(thread.is_alive() for thread in self._threads)

    def fail(self, cause: BaseException) -> None:
        """Fail permanently: all waiting and running images fail with Failed. For a dead worker, or for a watchdog."""
        with self._changed:
            if self._fatal is not None:
                return
            self._fatal = cause
            rejected = [*self._queue.clear(), *self._running_entries()]
            self._changed.notify_all()
        logger.critical("the batcher has failed: %r", cause, exc_info=cause)
        self._reject(rejected, Failed)
        if self._on_fatal is not None:
            self._on_fatal(cause)

    @property
    def depth(self) -> int:
        """Number of waiting images, without the low-priority ones."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        """Whether all threads run and none has failed. False before ``start`` and after ``close``."""
        return self._fatal is None and bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    @property
    def busy_since(self) -> float | None:
        """Start of the oldest current run, on the batcher's clock; None if no worker runs."""
        return min((begun for worker in self._workers if (begun := worker.begun) is not None), default=None)

    def seconds_per_image(self) -> float:
        """Return the expected model time of one image, if all workers run single images."""
        return self._cost.seconds(self._cost.smallest) / len(self._workers)

    def predicted_wait(self) -> float:
        """Return the expected seconds until the result of an image that is submitted now."""
        now = self._clock()
        remaining = [
            max(0.0, self._cost.seconds(worker.bucket) - (now - begun)) if (begun := worker.begun) is not None else 0.0
            for worker in self._workers
        ]
        own = self._cost.seconds(self._cost.smallest)
        queued = self._cost.total_s(len(self._queue) + 1)
        return max(min(remaining) + own, (sum(remaining) + queued) / len(self._workers))

    def _start_timer(self, entry: PendingInference) -> None:
        """Set the entry's timer. When it fires after the deadline, the entry fails unless a worker has taken it."""
        if entry.deadline is None:
            return
        remaining = entry.deadline - self._clock()
        if remaining > 0:  # a timer may fire early, and a test's clock differs from the loop's
            entry.timer = entry.loop.call_later(max(remaining, 0.001), self._start_timer, entry)
        elif self._withdraw(entry):
            self._reject([entry], lambda: DeadlineExceeded("queue"), "deadline")

    def _withdraw(self, entry: PendingInference) -> bool:
        """Remove an entry from the queue; return False if a worker has taken it."""
        with self._changed:
            return self._queue.remove(entry)

    def _running_entries(self) -> list[PendingInference]:
        return [entry for worker in self._workers for entry in worker.running]

    def _reject(
        self, entries: Sequence[PendingInference], error: Callable[[], ClearcutError], reason: str = "failed"
    ) -> None:
        waiting = [entry for entry in entries if not entry.future.done()]
        deliver_results((entry, error()) for entry in waiting)
        for _ in waiting:
            self._observer.entry_dropped(reason)

    def _run_worker(self, worker: EngineWorker) -> None:
        """Body of a worker's thread. It ends after ``close``, or when an exception has failed the whole batcher."""
        try:
            while self._take_batch(worker):
                worker.run(worker.running)
                with self._changed:
                    worker.running = ()  # an idle worker must not keep tensors in memory
        except BaseException as exc:
            self.fail(exc)

    def _take_batch(self, worker: EngineWorker) -> bool:
        """Wait for a batch and store it in ``worker.running``; return False if there will be no more batches."""
        while True:
            with self._changed:
                self._queue.idle_workers += 1
                try:
                    if not self._wait_for_batch():
                        return False
                    selection = self._queue.select_batch()
                    worker.running = selection.chosen
                finally:
                    self._queue.idle_workers -= 1
            self._reject(selection.expired, lambda: DeadlineExceeded("queue"), "deadline")
            for _ in range(selection.cancelled):
                self._observer.entry_dropped("cancelled")
            if selection.chosen:
                return True

    def _wait_for_batch(self) -> bool:
        """Wait until a batch must run (True) or there will be none (False). The caller holds the lock."""
        while self._fatal is None:
            if not self._queue.empty:
                wait_s = 0.0 if self._closing else self._queue.wait_s()
                if wait_s <= 0:
                    return True
                self._changed.wait(wait_s)
            elif self._closing:
                return False
            else:
                self._changed.wait()
        return False
