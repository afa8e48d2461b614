"""A fixed pool of threads for pixel work that finishes what is begun before it begins more.

First come, first served would decode every waiting picture before the first one is encoded: all of them would sit in
memory, and the first answer would be as late as the last. Work nearest to its answer goes first, in order of arrival.
"""

from __future__ import annotations

import heapq
import itertools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Priority(IntEnum):
    """How near a piece of work is to its request's answer; the lower goes first."""

    FINISH = 0
    LOOK = 1
    """Reading a header: cheap, and may refuse the request."""
    BEGIN = 2


class ThreadPool(Executor):
    """Threads start at once and live until ``shutdown``; they are daemons, since C code cannot be interrupted."""

    def __init__(self, workers: int, nice: int = 0) -> None:
        """
        Args:
            nice: how far the threads stand back for others' when the processors are short, 0 to 19 (Linux only).
        """
        self._nice = nice if sys.platform == "linux" else 0  # elsewhere the whole process would be
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._changed = threading.Condition()
        self._closed = False
        for number in range(workers):
            threading.Thread(target=self._work, name=f"pixels-{number}", daemon=True).start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """As every executor; small work on the way in."""
        return self.put(Priority.LOOK, partial(fn, *args, **kwargs))

    def put(self, rank: Priority, work: Callable[[], T]) -> Future[T]:
        """A future of ``work()``; one that is cancelled before its turn never runs.

        It is cancelled at once if the pool is closed, as those were that waited then: whoever comes a moment later is
        told the same.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
                return future
            heapq.heappush(self._waiting, (rank, next(self._order), future, work))
            self._changed.notify()
        return future

    @property
    def depth(self) -> int:
        """Pieces of work that wait for a thread."""
        return len(self._waiting)

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Cancel what waits and let the threads end after what they are at; neither is open to choice."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._changed.notify_all()
        for _, _, future, _ in waiting:
            future.cancel()

    def _work(self) -> None:
        if self._nice:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                _, _, future, work = heapq.heappop(self._waiting)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as exc:
                    future.set_exception(exc)
            del future, work  # an idle thread keeps no picture alive
