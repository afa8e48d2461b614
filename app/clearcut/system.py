"""CPU and memory limits of the machine or container, locks, and settings of the C allocator.

Calls that a platform lacks have a substitute here, so that other modules import on every platform.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

SchedulingPolicy = Literal["SCHED_BATCH", "SCHED_IDLE"]
_UNKNOWN_MEMORY_BYTES = 4 << 30
"""Assumed memory of the machine if the operating system does not report it, as on Windows."""
_LOCK_OFFSET = 1 << 40
"""Offset of the locked byte on Windows. It is after the end of the data, because locked data could not be read."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # glibc's malloc.h
_RETAINED_BYTES = 1 << 30
_GROWTH_BYTES = 64 << 20


def memory_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes of memory that this process may use.

    The result is the limit of the control group (v2, then v1) if it is below the machine's memory.
    """
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        machine = _UNKNOWN_MEMORY_BYTES
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(machine, int(text))
    return machine


def memory_used(statm: Path = Path("/proc/self/statm")) -> int:
    """Return the resident memory of this process in bytes; 0 if the system does not report it."""
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError, AttributeError):
        return 0


def keep_freed_memory() -> bool:
    """Let glibc reuse freed image buffers instead of returning them to the system; return whether that succeeded.

    By default glibc maps and unmaps each large buffer, which causes a page fault for each of its pages: a quarter of
    the CPU time of a 10-megapixel request. One arena lets all threads share the freed buffers, and lets
    ``release_free_memory`` return all of them. Call this before other threads start: later calls keep the arenas of
    those threads, where glibc still maps and unmaps each buffer above 64 MiB. Source: mallopt(3).
    """
    mallopt = _c_function("mallopt")
    if mallopt is None:  # not glibc
        return False
    options = {
        _M_ARENA_MAX: 1,
        _M_MMAP_THRESHOLD: _RETAINED_BYTES,
        _M_TRIM_THRESHOLD: _RETAINED_BYTES,
        _M_TOP_PAD: _GROWTH_BYTES,
    }
    return bool(min(mallopt(name, value) for name, value in options.items()))


def lower_thread_priority(nice: int) -> None:
    """Raise the niceness of the current thread, and of threads that it creates. Linux only: setpriority(2), "Threads".

    Elsewhere it would apply to the whole process, so nothing happens. 0 and a lower niceness than the present one
    change nothing. If the system refuses the call, the thread keeps its priority.
    """
    if sys.platform != "linux" or not nice:
        return
    thread = threading.get_native_id()
    with suppress(OSError):
        if nice > os.getpriority(os.PRIO_PROCESS, thread):
            os.setpriority(os.PRIO_PROCESS, thread, nice)


def threads_with_policy(name: SchedulingPolicy, tasks: Path = Path("/proc/self/task")) -> frozenset[int]:
    """Return the IDs of this process's threads with a scheduling policy, also of those that C code started.

    The result is empty on platforms other than Linux.
    """
    found = set[int]()
    for task in tasks.iterdir() if hasattr(os, name) and tasks.is_dir() else ():
        with suppress(OSError):  # the thread has ended, or the system refuses the call
            if os.sched_getscheduler(int(task.name)) == getattr(os, name):
                found.add(int(task.name))
    return frozenset(found)


def set_policy(name: SchedulingPolicy, threads: Iterable[int] = (0,)) -> bool:
    """Set the scheduling policy of threads, by default of the current one, and of threads that they create.

    SCHED_BATCH: the thread does not preempt other threads. SCHED_IDLE: it runs only on CPUs that no other thread needs.
    A normal thread preempts it at once, and the system treats its CPU as idle when it selects a CPU for a thread.
    Without privileges a thread cannot leave SCHED_IDLE. Source: sched(7).

    Returns:
        False if the platform has no such policy, or does not permit it.
    """
    if not hasattr(os, name):
        return False
    permitted = True
    for thread in threads:
        try:
            os.sched_setscheduler(thread, getattr(os, name), os.sched_param(0))
        except ProcessLookupError:  # the thread has ended
            continue
        except OSError:
            permitted = False
    return permitted


@contextmanager
def peak_memory(proc: Path = Path("/proc/self")) -> Iterator[list[int]]:
    """Measure how much the resident memory grows at most within the block; the list has the bytes after it.

    The peak is reset with /proc/self/clear_refs (proc(5)). Where that is not possible, the growth at the end counts.
    """
    growth: list[int] = []
    before = memory_used()
    try:
        (proc / "clear_refs").write_text("5")
        resettable = True
    except OSError:
        resettable = False
    yield growth
    peak = memory_high_water(proc) if resettable else memory_used()
    growth.append(max(0, peak - before))


def memory_high_water(proc: Path = Path("/proc/self")) -> int:
    """Return the peak of the resident memory in bytes, since the start or the last ``peak_memory``."""
    try:
        lines = (proc / "status").read_text().splitlines()
    except OSError:
        lines = []
    return max([memory_used(), *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))])


def release_free_memory() -> None:
    """Return every free page to the system (malloc_trim(3)). This takes milliseconds and releases the GIL."""
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)


def _c_function(name: str) -> Callable[..., int] | None:
    """Return a function of the C library, or None if it has no such function."""
    try:
        function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows
        return None
    return function


def lock_file(descriptor: int) -> None:
    """Lock an open file for this process until the file is closed.

    Raises:
        BlockingIOError: another process has locked the file.
    """
    try:
        import fcntl
    except ImportError:
        _lock_file_on_windows(descriptor, importlib.import_module("msvcrt"))
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_file_on_windows(descriptor: int, msvcrt: Any) -> None:
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError as exc:
        raise BlockingIOError(exc.errno, exc.strerror) from None
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)


def send_queue_bytes(descriptor: int) -> int:
    """Return the bytes in a socket's send queue that the other side has not acknowledged (SIOCOUTQ, tcp(7)).

    The result is 0 where the system does not report it.
    """
    try:
        import fcntl
        import termios

        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0])
    except (ImportError, OSError):
        return 0


def cpu_quota(root: Path = Path("/")) -> int:
    """Return the number of CPUs that this process may use, at least 1.

    A fractional quota is rounded down, because a thread beyond the quota is throttled in every period. Sources:
    sched_setaffinity(2); kernel docs admin-guide/cgroup-v2 (cpu.max) and scheduler/sched-bwc (cgroup v1).

    Args:
        root: folder that contains ``proc`` and ``sys``; tests use another one.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([affinity, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas of this process's control group and of the parents of that group, in CPUs."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for group in _ancestors(mounts, path):
                quota = _read(group / "cpu.max")
                if len(quota) == 2 and quota[0] != "max":
                    yield float(quota[0]) / float(quota[1])
        elif "cpu" in controllers.split(","):
            for mount in (mounts / controllers, mounts / "cpu"):
                for group in _ancestors(mount, path):
                    quota = _read(group / "cpu.cfs_quota_us") + _read(group / "cpu.cfs_period_us")
                    if len(quota) == 2 and float(quota[0]) > 0:
                        yield float(quota[0]) / float(quota[1])


def _ancestors(mount: Path, path: str) -> Iterator[Path]:
    """Yield ``mount/path`` and its parents down to ``mount``.

    In a container the path may be that of the host and not exist.
    """
    group = mount / path.lstrip("/")
    yield group
    while group != mount:
        group = group.parent
        yield group


def _read(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
