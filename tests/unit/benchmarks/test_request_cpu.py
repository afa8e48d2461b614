"""CPU time of requests: ended threads count, and a benchmark without its compiled libraries stops."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.request_cpu import Cost, CpuTimes, compile_libraries, cost_of_requests, read_cpu_times

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads CPU times of Linux")


def use_cpu(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@linux_only
def test_ended_thread_counts_as_outside_model() -> None:
    model = threading.get_native_id()
    before = read_cpu_times(os.getpid(), model)
    thread = threading.Thread(target=use_cpu, args=(0.05,))
    thread.start()
    thread.join()
    cost = cost_of_requests(before, read_cpu_times(os.getpid(), model), requests=2)
    # The clock of the process is read before that of the model's thread, whose time in between is subtracted too.
    assert cost.outside_model >= 24
    assert cost.model < cost.outside_model


@linux_only
def test_ended_model_thread_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="has ended"):
        read_cpu_times(os.getpid(), model_thread=0)  # no thread has number 0


def test_cost_is_per_request_in_ms() -> None:
    assert cost_of_requests(CpuTimes(10**6, 0), CpuTimes(9 * 10**6, 6 * 10**6), requests=2) == Cost(3.0, 1.0)


def test_missing_library_stops_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "rows.c").touch()
    (tmp_path / "Makefile").write_text("app/rows.so:\n\t@true\n")
    monkeypatch.setattr("benchmarks.request_cpu.shutil.which", lambda _: "/usr/bin/cc")
    with pytest.raises(RuntimeError, match=r"rows\.so was not compiled"):
        compile_libraries(tmp_path)
    monkeypatch.setattr("benchmarks.request_cpu.shutil.which", lambda _: None)
    compile_libraries(tmp_path)
