"""Memory of the driver of a bulk run: ``python -m tests.support.ray_listing COUNT FILE`` writes a list and reads it.

The actors do nothing. Prints the highest resident memory as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil

import clearcut
from clearcut.batch import ray_run
from clearcut.batch.process import Backend
from clearcut.batch.ray_actor import CutActor
from clearcut.batch.types import BatchItem, BatchPlan, BatchResources


class IdleActor(CutActor):
    """An actor without a model."""

    def _load_backend(self) -> Backend:
        return IdleBackend()

    def _process(self, item: BatchItem) -> list[object]:
        return [item.key, "ok", "", "", 1.0]


class IdleBackend:
    concurrency = 1


def main(count: int, path: Path) -> None:
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"source": f"folder{number // 1000:05d}/photo-{number:08d}.jpg"}) + "\n")
    target = str(path.with_name("out"))
    resources = BatchResources(2, 1, 0.0)
    plan = BatchPlan(str(path), target, "png", "", False, {}, {}, resources, clearcut.__version__)
    with ray_run.connection("local"):
        process, peak, keys = psutil.Process(), 0, 0
        for number, results in enumerate(ray_run.run_batch(plan, "local", IdleActor)):
            keys += len(results)
            if number % 10 == 0:
                peak = max(peak, process.memory_info().rss)
        peak = max(peak, process.memory_info().rss)
    print(json.dumps({"keys": keys, "peak_bytes": peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
