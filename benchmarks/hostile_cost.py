"""Cost of each hostile file until it is refused, or until it is decoded if it is harmless.

    python -m benchmarks.hostile_cost

Milliseconds are the best of five. Peak memory is resident: the growth of the process's high-water mark, measured in a
child process for each file, so that allocations of C code count.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import time
from datetime import date
from pathlib import Path

import cv2
import numpy
import PIL

from clearcut.errors import ClearcutError
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import bombs

RESULT = Path(__file__).parent / "results" / "hostile_cost.json"


def attempt(data: bytes) -> str:
    try:
        header = probe(data, ProbeLimits())
        decode(data, header)
    except ClearcutError as exc:
        return exc.reason
    return "decoded"


def resident() -> tuple[float, float]:
    """Return the current resident memory and the high-water mark in MB."""
    status = Path("/proc/self/status").read_text()
    fields = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    return int(fields["VmRSS"]) / 1024, int(fields["VmHWM"]) / 1024


def measure(data: bytes) -> dict[str, object]:
    cv2.setNumThreads(1)
    attempt(b"")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before, _ = resident()
    outcome = attempt(data)
    _, peak = resident()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        attempt(data)
        best = min(best, time.perf_counter() - start)
    return {"outcome": outcome, "bytes": len(data), "ms": round(best * 1e3, 2), "peak_mb": round(peak - before, 1)}


def main() -> None:
    makers = {name: maker for name, (maker, _) in bombs.REFUSED.items()} | bombs.HARMLESS
    rows: dict[str, dict[str, object]] = {}
    context = multiprocessing.get_context("spawn")
    for name, maker in makers.items():
        with context.Pool(1) as pool:
            rows[name] = pool.apply(measure, (maker(),))
        print(f"{name:36s} {rows[name]}")
    RESULT.write_text(
        json.dumps(
            {
                "question": "cost of probe (and of decode where probe lets it pass) per hostile file",
                "date": date.today().isoformat(),
                "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} CPUs, shared",
                "versions": {
                    "python": platform.python_version(),
                    "opencv": cv2.__version__,
                    "pillow": PIL.__version__,
                    "numpy": numpy.__version__,
                },
                "files": rows,
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
