"""The thread of a further model: its priority, and that the threads of the runtime inherit it."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from clearcut.inference.model_files import load_model
from clearcut.inference.session import OnnxEngine
from clearcut.inference.session_thread import NICE, SessionThread
from clearcut.system import lower_thread_priority
from tests.support.onnx_models import SIDE, ModelMaker

linux = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="threads have their own priority only on Linux")


def priority() -> tuple[int, int]:
    """Return the policy and the niceness of the current thread."""
    return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_calls_run_on_one_thread_of_their_own() -> None:
    thread = SessionThread("tiny")
    threads = {thread.call(threading.get_ident) for _ in range(3)}
    assert len(threads - {threading.get_ident()}) == 1
    assert thread.call(int, "ff", base=16) == 255
    with pytest.raises(ValueError, match="invalid literal"):
        thread.call(int, "x")


@linux
def test_idle_time_applies_to_this_thread_only() -> None:
    before = priority()
    lowered = max(NICE, before[1])
    first = SessionThread("first")
    assert first.call(priority) == (os.SCHED_BATCH, lowered)
    assert first.give_idle_time()
    second = SessionThread("second")
    assert first.call(priority) == (os.SCHED_IDLE, lowered)
    assert second.call(priority) == (os.SCHED_BATCH, lowered)
    assert second.give_idle_time()
    assert priority() == before


@linux
def test_lower_priority_of_process_stays() -> None:
    thread = SessionThread("tiny")
    thread.call(lower_thread_priority, 17)
    thread.call(lower_thread_priority, NICE)
    assert thread.call(priority)[1] == 17


@linux
def test_threads_of_a_session_inherit_the_priority(models: ModelMaker) -> None:
    before = {*os.listdir("/proc/self/task")}
    thread = SessionThread("tiny")
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 3, thread=thread)
    image = np.full((1, 3, SIDE, SIDE), 0.25, np.float32)
    engine.warm(image)
    thread.give_idle_time()
    started = {*os.listdir("/proc/self/task")} - before
    assert len(started) == 3
    assert {os.sched_getscheduler(int(each)) for each in started} == {os.SCHED_IDLE}
    assert engine.run(image).max() == 0.25
