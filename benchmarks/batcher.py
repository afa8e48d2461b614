"""Cost of the batcher: throughput under load and the latency that it adds to a single request.

The model is a fake that sleeps 10 ms + 1 ms per item. With buckets up to 32 the ideal rate is 32 / 42 ms = 762
images/s. Everything else is real: one worker and 64 callers on one event loop. Each figure is the median of several
runs:

* 64 concurrent callers: images/s as a share of the ideal. Measured with tiny tensors, where only the batcher's own
work counts, and with tensors of 3 x 320 x 320, where a batch of 32 copies 39 MB. The second figure depends on the
machine's memory and on other load.
* One caller (3 x 320 x 320): time per request minus the time that the fake took. The fake's time is measured, because
a sleep takes about 0.1 ms longer than requested. Pauses between the calls let threads sleep as in service.

Run: ``python -m benchmarks.batcher``; writes results/batcher.json.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import numpy as np

from benchmarks import report
from clearcut.inference.batcher import Batcher
from clearcut.inference.types import F32

BUCKETS = (1, 2, 4, 8, 16, 32)
BASE_S, ITEM_S = 0.010, 0.001
CALLERS = 64
SIDE = 320
SMALL = 32
RUNS = 5
SECONDS = 3.0
LONE_CALLS = 100


class SleepingEngine:
    """Fake engine that sleeps its cost and records the time that it took."""

    def __init__(self) -> None:
        self.took_s = 0.0

    def run(self, batch: F32) -> F32:
        begun = time.perf_counter()
        time.sleep(BASE_S + ITEM_S * batch.shape[0])
        self.took_s = time.perf_counter() - begun
        return np.zeros((batch.shape[0], *batch.shape[2:]), np.float32)


def make(engine: SleepingEngine) -> Batcher:
    batcher = Batcher([engine], BUCKETS, 2 * CALLERS, 0.005, {bucket: BASE_S + ITEM_S * bucket for bucket in BUCKETS})
    batcher.start()
    return batcher


async def throughput(side: int) -> tuple[float, float]:
    """Return (images/s, items per batch) in the steady state, with tensors of 3 x side x side."""
    batcher = make(SleepingEngine())
    tensors = [np.zeros((3, side, side), np.float32) + number for number in range(CALLERS)]
    begin = time.perf_counter() + 0.3
    end = begin + SECONDS
    sizes: list[int] = []

    async def caller(tensor: F32) -> None:
        while time.perf_counter() < end:
            answer = await batcher.infer(tensor, time.monotonic() + 30)
            if begin <= time.perf_counter() < end:
                sizes.append(answer.batch_size)

    await asyncio.gather(*(caller(tensor) for tensor in tensors))
    await asyncio.to_thread(batcher.close, True, 5)
    return len(sizes) / SECONDS, statistics.mean(sizes)


async def lone() -> list[float]:
    """Return the seconds that the batcher adds to each request of a single caller."""
    engine = SleepingEngine()
    batcher = make(engine)
    tensor = np.zeros((3, SIDE, SIDE), np.float32)
    added = []
    for _ in range(LONE_CALLS):
        begun = time.perf_counter()
        with batcher.announce() as arrival:
            await batcher.infer(tensor, time.monotonic() + 30, arrival)
        added.append(time.perf_counter() - begun - engine.took_s)
        await asyncio.sleep(0.003)
    await asyncio.to_thread(batcher.close, True, 5)
    return added


def main() -> None:
    machine = report.machine()
    ideal = max(BUCKETS) / (BASE_S + ITEM_S * max(BUCKETS))
    busy: dict[int, list[tuple[float, float]]] = {SMALL: [], SIDE: []}
    alone = []
    for _ in range(RUNS):  # alternating, so that other load on the machine affects all alike
        for side, results in busy.items():
            results.append(asyncio.run(throughput(side)))
        alone.append(asyncio.run(lone()))
    medians = [statistics.median(added) for added in alone]
    p99s = [sorted(added)[int(0.99 * len(added))] for added in alone]
    shares = {}
    rows = []
    for side, results in busy.items():
        rate = statistics.median(rate for rate, _ in results)
        shares[f"tensors_3x{side}x{side}"] = {
            "images_per_s": round(rate, 1),
            "share_of_ideal": round(rate / ideal, 4),
            "items_per_batch": round(statistics.median(size for _, size in results), 2),
            "runs_images_per_s": [round(rate, 1) for rate, _ in results],
        }
        rows.append((f"{CALLERS} callers, 3x{side}x{side}", f"{rate:.1f} of {ideal:.1f} images/s ({rate / ideal:.1%})"))
    rows.append(("added to a lone request, median", f"{1000 * statistics.median(medians):.3f} ms"))
    rows.append(("added to a lone request, p99", f"{1000 * statistics.median(p99s):.3f} ms"))
    report.write(
        "batcher",
        "cost of the batcher, with a fake model of 10 ms + 1 ms per item",
        "python -m benchmarks.batcher",
        machine,
        {
            "buckets": list(BUCKETS),
            "callers": CALLERS,
            "ideal_images_per_s": round(ideal, 1),
            "throughput": shares,
            "lone_caller": {
                "added_ms_median": round(1000 * statistics.median(medians), 3),
                "added_ms_p99": round(1000 * statistics.median(p99s), 3),
                "runs_added_ms_median": [round(1000 * value, 3) for value in medians],
            },
        },
    )
    for name, value in rows:
        print(f"{name:<34}{value}")


if __name__ == "__main__":
    main()
