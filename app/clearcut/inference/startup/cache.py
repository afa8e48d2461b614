"""What a start's measurements chose, kept for the next start: by the model's files, the CPU and the runtime.

Only the choice is kept (precision, sessions, threads, batch sizes). It is warmed, timed and self-tested at every start
all the same, and made anew after a month, so that one unlucky measurement does not last.
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
from clearcut.inference.providers import runtime_version
from clearcut.system import cpu_quota

MAX_AGE_S = 30 * 86_400
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class CachedPlan:
    precision: str
    lanes: int
    intra_op_threads: int
    buckets: tuple[int, ...]


class PlanCache:
    """One small JSON file a situation, in ``folder``. A file that cannot be read, written or believed is no error."""

    def __init__(self, folder: Path | None, clock: Any = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def get(self, key: str) -> CachedPlan | None:
        if self._folder is None:
            return None
        try:
            kept = json.loads((self._folder / f"{key}.json").read_text())
            if not 0 <= self._clock() - kept["at"] < MAX_AGE_S:
                return None
            choice = CachedPlan(**{**kept["choice"], "buckets": tuple(kept["choice"]["buckets"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        numbers = (choice.lanes, choice.intra_op_threads, *choice.buckets)
        return choice if choice.buckets and all(type(each) is int and each > 0 for each in numbers) else None

    def put(self, key: str, choice: CachedPlan) -> None:
        if self._folder is None:
            return
        part = self._folder / f"{key}.{os.getpid()}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"at": self._clock(), "choice": asdict(choice)}))
            part.replace(self._folder / f"{key}.json")
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()


def available_variants(entry: ModelEntry, folders: Sequence[Path]) -> dict[str, int]:
    """Which variants are there, with the time of each file: one that is made later, or anew, is a new situation."""
    found = {each.precision: locate(each, list(folders)) for each in entry.variants.values()}
    return {precision: path.stat().st_mtime_ns for precision, path in found.items() if path is not None}


def cache_key(entry: ModelEntry, asked: Mapping[str, object], cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """A key that changes with whatever may change the choice; ``asked`` is what the settings say of it."""
    facts = {
        "format": _FORMAT,
        "files": sorted(str(each.sha256 or each.md5) for each in (entry, *entry.variants.values())),
        "asked": dict(asked),
        "cpu": _cpu(cpuinfo),
        "cpus": cpu_quota(),
        "runtime": runtime_version(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _cpu(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    telling = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(telling)}))
