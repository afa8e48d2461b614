"""A fixed pool of threads for pixel work that finishes started requests before it starts others.

In order of arrival, the pool would decode every waiting image before it encodes the first one: all images would be in
memory at once, and the first response would be as late as the last. Tasks closest to a response therefore run first,
and tasks of equal priority run in order of arrival.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar

from clearcut.system import lower_thread_priority

T = TypeVar("T")


class Priority(IntEnum):
    """Order of tasks in the pool; the lowest value runs first."""

    POSTPROCESS = 0
    """Refine, compose and encode: the task that produces a response."""
    PROBE = 1
    """Read the header of an image: fast, and can reject the request."""
    PREPROCESS = 2
    """Decode an image and prepare the model input."""


class ThreadPool(Executor):
    """Threads that start at once and run until ``shutdown``. They are daemons, because C code cannot be interrupted."""

    def __init__(self, workers: int, nice: int = 0, name: str = "pixels") -> None:
        """
        Args:
            workers: number of threads.
            nice: niceness of the threads, 0 to 19. Linux only: elsewhere it would apply to the whole process.
            name: first part of the threads' names.
        """
        self._nice = nice
        self._sequence = itertools.count()
        self._waiting: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run_tasks, name=f"{name}-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` with ``Priority.PROBE``; see ``concurrent.futures.Executor``."""
        return self.put(Priority.PROBE, partial(fn, *args, **kwargs))

    def put(self, priority: Priority, work: Callable[[], T]) -> Future[T]:
        """Schedule ``work()`` and return its future.

        A future that is cancelled before its task starts never runs. In a closed pool the future is cancelled at once,
        like those that were waiting when the pool was closed.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
                return future
            heapq.heappush(self._waiting, (priority, next(self._sequence), future, work))
            self._changed.notify()
        return future

    @property
    def depth(self) -> int:
        """Number of tasks that wait for a thread."""
        return len(self._waiting)

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Cancel waiting tasks and end each thread after its current task. Both arguments are ignored."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._changed.notify_all()
        for _, _, future, _ in waiting:
            future.cancel()

    def join(self, timeout: float) -> None:
        """Wait after ``shutdown`` until the threads end. A thread in C code at exit can abort the process.

        Args:
            timeout: seconds.
        """
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run_tasks(self) -> None:
        lower_thread_priority(self._nice)
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
            del future, work  # an idle thread must not keep an image in memory
