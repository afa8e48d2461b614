"""The thread of a further model: it creates the model's session and runs it, with a lower priority than other threads.

Its Python code is short. If this thread loses the CPU while it holds a lock, such as the GIL, all threads that need the
lock wait. The batcher's thread therefore keeps its priority and does the work before and after a run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from clearcut.system import set_policy, threads_with_policy
from clearcut.thread_pool import ThreadPool

NICE = 10
"""Niceness of the threads of further models. Threads of niceness 0 get ten times the CPU time (sched(7))."""

P = ParamSpec("P")
T = TypeVar("T")


def call(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function on the current thread, as ``SessionThread.call`` does on its own."""
    return function(*args, **kwargs)


class SessionThread:
    """A daemon thread with niceness ``NICE`` and SCHED_BATCH. Threads that ``call`` starts inherit both."""

    def __init__(self, name: str) -> None:
        """
        Args:
            name: of the thread, for debuggers.
        """
        self._others = threads_with_policy("SCHED_BATCH")
        self._pool = ThreadPool(1, NICE, name)
        self.call(set_policy, "SCHED_BATCH")

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function on the thread, and return its result or raise its exception."""
        return self._pool.submit(function, *args, **kwargs).result()

    def give_idle_time(self) -> bool:
        """Let the thread and the runtime's threads use only idle CPU time, permanently.

        Call this before another object of this class is created: the threads are found by their policy.

        Returns:
            Whether the platform has this priority.
        """
        own = self.call(threading.get_native_id)
        python = {thread.native_id for thread in threading.enumerate()}
        return set_policy("SCHED_IDLE", {own} | (threads_with_policy("SCHED_BATCH") - self._others - python))
