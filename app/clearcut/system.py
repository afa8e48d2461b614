"""What this machine, or the container around us, allows."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # glibc's malloc.h
_KEEP = 1 << 30
_GROW_BY = 64 << 20


def memory_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes this process may use: the control group's limit (v2, then v1) if that is below the machine's memory."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(machine, int(text))
    return machine


def memory_used(statm: Path = Path("/proc/self/statm")) -> int:
    """Bytes of memory that this process has in use now; 0 where the system does not say."""
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def keep_freed_memory() -> bool:
    """Let glibc hand freed picture buffers to the next picture instead of to the system; whether that could be set.

    By default a buffer of a megabyte or more is mapped and unmapped each time, and every page of it faults anew: at 10
    megapixels that was a quarter of a request's CPU time. One arena, so that any thread's buffers serve any other and
    ``give_back_memory`` can return all of them. To be called before other threads start; see mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc: its defaults stand
        return False
    wanted = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: _KEEP, _M_TRIM_THRESHOLD: _KEEP, _M_TOP_PAD: _GROW_BY}
    return bool(min(mallopt(name, value) for name, value in wanted.items()))


def give_back_memory() -> None:
    """Return every free page to the system (malloc_trim(3)); takes milliseconds, without the GIL."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def cpu_quota(root: Path = Path("/")) -> int:
    """CPUs to size thread pools by, at least 1.

    A fractional quota is rounded down: a thread more than the quota would be throttled for part of every period.
    Sources: sched_setaffinity(2); kernel docs admin-guide/cgroup-v2 (cpu.max) and scheduler/sched-bwc (cgroup v1).

    Args:
        root: where ``proc`` and ``sys`` are looked for; tests give a made-up tree.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """Every quota that applies: the own group's and its ancestors', in CPUs."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for group in _upwards(mounts, path):
                quota = _read(group / "cpu.max")
                if len(quota) == 2 and quota[0] != "max":
                    yield float(quota[0]) / float(quota[1])
        elif "cpu" in controllers.split(","):
            for mount in (mounts / controllers, mounts / "cpu"):
                for group in _upwards(mount, path):
                    quota = _read(group / "cpu.cfs_quota_us") + _read(group / "cpu.cfs_period_us")
                    if len(quota) == 2 and float(quota[0]) > 0:
                        yield float(quota[0]) / float(quota[1])


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """``mount/path`` and its parents down to ``mount``. In a container the path may be the host's and not be there."""
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
