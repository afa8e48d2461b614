import os
import sys
import threading

import pytest

from clearcut.thread_pool import Priority, ThreadPool


@pytest.fixture
def held():
    """A pool with one thread that is busy until the event is set."""
    pool, gate, entered = ThreadPool(1), threading.Event(), threading.Event()

    def occupy():
        entered.set()
        gate.wait(10)

    pool.put(Priority.PREPROCESS, occupy)
    assert entered.wait(10)
    yield pool, gate
    gate.set()
    pool.shutdown()


def test_tasks_run_by_priority_then_arrival(held):
    pool, gate = held
    done = []
    priorities = [Priority.PREPROCESS, Priority.POSTPROCESS, Priority.PROBE, Priority.PREPROCESS, Priority.POSTPROCESS]
    futures = [pool.put(priority, lambda n=n: done.append(n)) for n, priority in enumerate(priorities)]
    assert pool.depth == 5
    gate.set()
    for future in futures:
        future.result(10)
    assert done == [1, 4, 2, 0, 3]


def test_cancelled_task_never_runs(held):
    pool, gate = held
    ran = []
    first = pool.put(Priority.PREPROCESS, lambda: ran.append("first"))
    second = pool.put(Priority.PREPROCESS, lambda: ran.append("second"))
    assert first.cancel()
    gate.set()
    second.result(10)
    assert ran == ["second"]


def test_exception_reaches_its_future_only(held):
    pool, gate = held
    gate.set()
    with pytest.raises(ZeroDivisionError):
        pool.put(Priority.POSTPROCESS, lambda: 1 // 0).result(10)
    assert pool.put(Priority.POSTPROCESS, lambda: 42).result(10) == 42


def test_shutdown_cancels_waiting_and_new_tasks(held):
    pool, gate = held
    waiting = pool.put(Priority.PREPROCESS, lambda: None)
    pool.shutdown()
    assert waiting.cancelled()
    assert pool.put(Priority.PREPROCESS, lambda: None).cancelled()
    gate.set()


def test_submit_runs_a_function(held):
    pool, gate = held
    gate.set()
    assert pool.submit(divmod, 7, 2).result(10) == (3, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have their own niceness only on Linux")
def test_niceness_applies_to_the_pool_only():
    pool, other = ThreadPool(1, nice=19), ThreadPool(1)
    futures = [
        each.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())) for each in (pool, other)
    ]
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert [future.result(10) for future in futures] == [19, before]
    pool.shutdown()
    other.shutdown()
