"""The execution plan of an earlier start, stored by model files, settings, CPU and runtime version.

The choice is stored: precision, sessions, threads and batch sizes, with its measured rate. Each start still warms,
measures and tests it. A plan expires after a month, or when a start measures a much higher rate: the machine was busy
when the plan was measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clearcut.inference.manifest import ModelEntry
from clearcut.inference.model_files import locate
from clearcut.inference.runtime import runtime_version
from clearcut.system import cpu_quota

MAX_AGE_S = 30 * 86_400
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """The stored choice; ``ExecutionPlan`` describes the fields."""

    precision: str
    lanes: int
    intra_op_threads: int
    buckets: tuple[int, ...]
    images_per_s: float
    """Measured with this choice; not part of it."""


class PlanCache:
    """One small JSON file for each key. A file that cannot be read or written, or is invalid, is ignored."""

    def __init__(self, folder: Path | None, clock: Any = time.time) -> None:
        """
        Args:
            folder: created when needed; None disables the cache.
            clock: returns Unix time.
        """
        self._folder = folder
        self._clock = clock

    def get(self, key: str) -> CachedPlan | None:
        """Return the stored plan, or None if there is none, or if it is too old or invalid."""
        if self._folder is None:
            return None
        try:
            content = json.loads((self._folder / f"{key}.json").read_text())
            if not 0 <= self._clock() - content["at"] < MAX_AGE_S:
                return None
            plan = CachedPlan(**{**content["choice"], "buckets": tuple(content["choice"]["buckets"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        numbers = (plan.lanes, plan.intra_op_threads, *plan.buckets)
        is_valid = plan.buckets and all(type(each) is int and each > 0 for each in numbers)
        return plan if is_valid and type(plan.images_per_s) is float and plan.images_per_s > 0 else None

    def put(self, key: str, plan: CachedPlan) -> None:
        """Store a plan."""
        if self._folder is None:
            return
        part = self._folder / f"{key}.{os.getpid()}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"at": self._clock(), "choice": asdict(plan)}))
            part.replace(self._folder / f"{key}.json")
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()


def available_variants(entry: ModelEntry, folders: Sequence[Path]) -> dict[str, int]:
    """Return the precisions of the existing variant files, with the modification time of each file in nanoseconds."""
    found = {each.precision: locate(each, list(folders)) for each in entry.variants.values()}
    return {precision: path.stat().st_mtime_ns for precision, path in found.items() if path is not None}


def cache_key(entry: ModelEntry, requested: Mapping[str, object], cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return a key that changes with everything that may change the plan.

    Args:
        entry: of the model.
        requested: settings and files that determine the plan.
        cpuinfo: describes the CPU.
    """
    inputs = {
        "format": _FORMAT,
        "files": sorted(str(each.sha256 or each.md5) for each in (entry, *entry.variants.values())),
        "asked": dict(requested),
        "cpu": _cpu(cpuinfo),
        "cpus": cpu_quota(),
        "runtime": runtime_version(),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _cpu(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    relevant = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(relevant)}))
