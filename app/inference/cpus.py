"""How many CPUs this process may really use: its affinity and its cgroup's quota, not the host's core count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


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
