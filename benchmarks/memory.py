"""Memory that returns: RSS before, at the peak of and after 2,000 requests of 0.3 to 24 megapixels, once idle again.

Run: ``python -m benchmarks.memory``; writes results/memory.json.
"""

from __future__ import annotations

import argparse
import random
import threading
import time

import psutil

from benchmarks import report
from benchmarks.load import Target, closed
from benchmarks.photos import jpegs
from tests.support.live_server import served

MIB = 1024 * 1024
SIZES = {0.3: 40, 1: 40, 4: 12, 12: 5, 24: 3}
"""(megapixels, share of the requests)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=8)
    args = parser.parse_args()
    machine = report.machine()
    made = {size: jpegs(size) for size in SIZES}
    mixture = [random.Random(number).choice(made[size]) for number, size in enumerate(
        random.Random(1).choices(list(SIZES), list(SIZES.values()), k=args.requests))]  # fmt: skip
    with served() as server:
        process = psutil.Process(server.pid)
        target = Target(server.host, server.port, "/v1/remove")
        closed(target, mixture[:40], args.concurrency, 2)
        time.sleep(2)  # idle, so only permanent memory is measured
        base = process.memory_info().rss
        peak = [base]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                peak[0] = max(peak[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        answered = 0
        begun = time.perf_counter()
        while answered < args.requests:
            load = closed(target, mixture[answered:] or mixture, args.concurrency, 20)
            assert set(load.statuses) == {200}, load.statuses
            answered += len(load.latencies)
        seconds = time.perf_counter() - begun
        done.set()
        watcher.join()
        time.sleep(3)
        after = process.memory_info().rss
    figures = {
        "requests": answered,
        "seconds": round(seconds, 1),
        "rss_mib": {"base": base // MIB, "peak": peak[0] // MIB, "idle_again": after // MIB},
        "idle_again_over_base": round(after / base, 3),
    }
    report.write("memory", "RSS before, during and after a mixed load", "python -m benchmarks.memory", machine, figures)
    print(figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
