"""The dynamic batcher: requests in, from any number of event loops; full batches out, to one thread an engine.

A lone request never waits. Items pile up while all lanes are busy, or for a moment while others are known to be on
their way (``expecting``). Who is in a batch is decided at the instant of its run, so that a request that was cancelled
or has no time left costs nothing. Every future is answered, whatever happens to a lane.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from clearcut.errors import ClearcutError, DeadlineExceeded, Draining, Failed, Overloaded

from .batching_policy import EntryQueue, PendingArrival
from .cost_model import CostModel
from .pending import PendingInference, deliver_results
from .types import F32, BatchObserver, Engine, Inference
from .worker import EngineWorker, GuardedObserver

LONGEST_RETRY_S = 60
"""Clients tend to ignore a Retry-After above a minute."""

logger = logging.getLogger(__name__)


class Batcher:
    """See the module. All methods may be called from any thread.

    Args:
        engines: one a lane; each is used by its own thread only.
        buckets: batch sizes that every engine takes.
        capacity: entries that may wait; the next one is refused.
        max_delay_s: longest that the oldest entry waits for others that are expected.
        cost_s: seconds a run per bucket, from the warm-up.
        observer: told of runs and drops.
        clock: the clock of the deadlines given to ``infer``.
        on_fatal: called once, from the failing thread, when the batcher has failed as a whole.
    """

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
        if not engines or capacity < 1:
            raise ValueError("a batcher needs at least one engine and room for one entry")
        self.capacity = capacity
        self._clock = clock
        self._on_fatal = on_fatal
        self._observer = GuardedObserver(observer)
        self._cost = CostModel(buckets, cost_s)
        self._lanes = [EngineWorker(engine, self._cost, clock, self._observer) for engine in engines]
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition(threading.Lock())  # guards all below, and every lane's `running`
        self._queue = EntryQueue(self._cost, max_delay_s, clock)
        self._held = 0
        self._closing = False
        self._fatal: BaseException | None = None

    def start(self) -> None:
        """Start the lanes' threads. They are daemons: an engine that hangs must not keep the process."""
        for number, lane in enumerate(self._lanes):
            name = f"inference-{number}" if len(self._lanes) > 1 else "inference"
            self._threads.append(threading.Thread(target=self._work, args=(lane,), name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    async def infer(
        self, tensor: F32, deadline: float | None = None, arrival: PendingArrival | None = None, later: bool = False
    ) -> Inference:
        """Wait for the matte of one picture.

        Args:
            tensor: f32[3,S,S], normalised; not to be changed until this returns.
            deadline: on the batcher's clock; None waits for as long as it takes.
            arrival: from ``expecting``; settled here.
            later: run only while no other picture waits or is on its way; takes no place among the ``capacity``.

        Raises:
            Overloaded: ``capacity`` entries are waiting. Draining: the batcher is closing. Failed: it has failed.
            DeadlineExceeded: the answer could not come in time. InternalError: this item cannot be inferred.
        """
        loop = asyncio.get_running_loop()
        entry = PendingInference(tensor, self._clock(), deadline, loop, loop.create_future(), later=later)
        self._admit(entry, arrival)
        # The lanes look at deadlines when they pop; the timer tells a client promptly while they are all busy.
        self._watch(entry)
        try:
            return await entry.future
        except asyncio.CancelledError:
            if self._withdraw(entry):
                self._observer.entry_dropped("cancelled")
            raise
        finally:
            if entry.timer is not None:
                entry.timer.cancel()

    def _admit(self, entry: PendingInference, arrival: PendingArrival | None) -> None:
        with self._changed:
            if arrival is not None and self._queue.settle(arrival):
                self._changed.notify_all()
            refusal: ClearcutError | None = None
            if self._fatal is not None:
                refusal = Failed()
            elif self._closing:
                refusal = Draining()
            elif not entry.later and len(self._queue) >= self.capacity:
                refusal = Overloaded(retry_after=min(LONGEST_RETRY_S, max(1, math.ceil(self.predicted_wait()))))
            else:
                self._queue.append(entry)
                self._changed.notify()
        if refusal is not None:
            if isinstance(refusal, Overloaded):
                self._observer.entry_dropped("full")
            raise refusal

    @contextmanager
    def expecting(self) -> Iterator[PendingArrival]:
        """Announce a request whose tensor is on its way; hand the arrival to ``infer`` within the block.

        Leaving the block without that gives the request up.
        """
        arrival = PendingArrival()
        with self._changed:
            self._queue.inbound += 1
        try:
            yield arrival
        finally:
            with self._changed:
                if self._queue.settle(arrival):
                    self._changed.notify_all()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Within the block no lane takes anything: a test can fill the queue at leisure."""
        with self._changed:
            self._held += 1
        try:
            yield
        finally:
            with self._changed:
                self._held -= 1
                self._changed.notify_all()

    def close(self, drain: bool, timeout: float) -> bool:
        """Refuse new entries, answer or (``drain`` false) refuse those that wait, and end the threads.

        Blocks: from an event loop that still has answers coming, call it in a thread. What is not answered within
        ``timeout`` seconds gets Draining. Returns whether all threads have ended.
        """
        with self._changed:
            self._closing = True
            refused = [] if drain else self._queue.clear()
            self._changed.notify_all()
        self._refuse(refused, Draining)
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._changed:
            refused = [*self._queue.clear(), *self._taken()]
        self._refuse(refused, Draining)
        return not any(thread.is_alive() for thread in self._threads)

    def fail(self, cause: BaseException) -> None:
        """Give up for good: everything queued and running gets Failed. For a lane that died, or a watchdog."""
        with self._changed:
            if self._fatal is not None:
                return
            self._fatal = cause
            refused = [*self._queue.clear(), *self._taken()]
            self._changed.notify_all()
        logger.critical("the batcher has failed: %r", cause, exc_info=cause)
        self._refuse(refused, Failed)
        if self._on_fatal is not None:
            self._on_fatal(cause)

    @property
    def depth(self) -> int:
        """Entries that wait."""
        return len(self._queue)

    @property
    def inbound(self) -> int:
        """Requests known to be on their way."""
        return self._queue.inbound

    @property
    def alive(self) -> bool:
        """Whether every lane's thread runs and none has failed. False before ``start`` and after ``close``."""
        return self._fatal is None and bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    @property
    def busy_since(self) -> float | None:
        """When the oldest run in progress began, on the batcher's clock; None when no lane runs."""
        return min((begun for lane in self._lanes if (begun := lane.begun) is not None), default=None)

    def cost(self) -> dict[int, float]:
        """Seconds a run per bucket, a moving average."""
        return self._cost.snapshot()

    def predicted_wait(self) -> float:
        """Seconds until an entry submitted now would be answered."""
        now = self._clock()
        left = [
            max(0.0, self._cost.seconds(lane.bucket) - (now - begun)) if (begun := lane.begun) is not None else 0.0
            for lane in self._lanes
        ]
        own = self._cost.seconds(self._cost.smallest)
        return max(min(left) + own, (sum(left) + self._cost.total_s(len(self._queue) + 1)) / len(self._lanes))

    def _watch(self, entry: PendingInference) -> None:
        """Set the entry's timer; when it fires on time, answer the entry unless a lane has it."""
        if entry.deadline is None:
            return
        left = entry.deadline - self._clock()
        if left > 0:  # a loop's timer may fire a little early, and a test's clock need not be the loop's
            entry.timer = entry.loop.call_later(max(left, 0.001), self._watch, entry)
        elif self._withdraw(entry):
            self._refuse([entry], lambda: DeadlineExceeded("queue"), "deadline")

    def _withdraw(self, entry: PendingInference) -> bool:
        """Take an entry out of the queue; False when a lane has it already."""
        with self._changed:
            return self._queue.remove(entry)

    def _taken(self) -> list[PendingInference]:
        return [entry for lane in self._lanes for entry in lane.running]

    def _refuse(
        self, entries: Sequence[PendingInference], error: Callable[[], ClearcutError], reason: str = "failed"
    ) -> None:
        waiting = [entry for entry in entries if not entry.future.done()]
        deliver_results((entry, error()) for entry in waiting)
        for _ in waiting:
            self._observer.entry_dropped(reason)

    def _work(self, lane: EngineWorker) -> None:
        """Body of a lane's thread. It ends by ``close``, or by failing the whole batcher: never in silence."""
        try:
            while self._take(lane):
                lane.run(lane.running)
                with self._changed:
                    lane.running = ()  # while it waits, an idle lane keeps no tensor alive
        except BaseException as exc:
            self.fail(exc)

    def _take(self, lane: EngineWorker) -> bool:
        """Wait for work and put it into ``lane.running``; False when there is to be none any more."""
        while True:
            with self._changed:
                self._queue.free_lanes += 1
                try:
                    if not self._wait():
                        return False
                    pick = self._queue.pick()
                    lane.running = pick.chosen
                finally:
                    self._queue.free_lanes -= 1
            self._refuse(pick.expired, lambda: DeadlineExceeded("queue"), "deadline")
            for _ in range(pick.cancelled):
                self._observer.entry_dropped("cancelled")
            if pick.chosen:
                return True

    def _wait(self) -> bool:
        """Until there is something that should leave now (True) or never will be (False). Holds the lock."""
        while self._fatal is None:
            if not self._queue.empty and not self._held:
                patience = 0.0 if self._closing else self._queue.patience()
                if patience <= 0:
                    return True
                self._changed.wait(patience)
            elif self._closing and self._queue.empty:
                return False
            else:
                self._changed.wait()
        return False
