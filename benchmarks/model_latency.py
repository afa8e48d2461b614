"""Latency of each model in one process: does a stream of requests for a further model slow down the default model?

    python -m benchmarks.model_latency --model-dir FOLDER [--further isnet-general-use] [--seconds 16]

One server serves the default and the further model. First the throughput of the default model is measured with as many
clients as the process has CPUs. Then requests for the default model arrive at half of that rate (open loop, Poisson),
in pairs of phases with equal arrival times: alone, and beside one client that sends requests for the further model
without a pause. The p95 of both kinds of phases is compared; the goal is a ratio of at most 1.3. The ratio of each pair
shows whether other load on the machine has changed the result. ``X-Model`` of each response is checked. Memory: the
figures of /v1/info and the resident memory of the process. Writes results/model_latency.json. With the default
arguments and ISNet this takes about 4 minutes on 2 CPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import psutil

from benchmarks import photos, report
from benchmarks.model_server import add_arguments, info, remove, served_models
from tests.support.live_server import Server

MEGAPIXELS = 1.0
GOAL = 1.3


def send(server: Server, image: bytes, model: str) -> float:
    """Send one request and return its seconds. Raises as ``remove``."""
    begun = time.monotonic()
    remove(server, image, model)
    return time.monotonic() - begun


def images_per_s(request: Callable[[int], float], clients: int, seconds: float) -> float:
    """Return the throughput with concurrent clients."""
    until = time.monotonic() + seconds
    numbers = count()

    def client(_: int) -> int:
        done = 0
        while time.monotonic() < until:
            request(next(numbers))
            done += 1
        return done

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(client, range(clients))) / seconds


def poisson(request: Callable[[int], float], rate: float, seconds: float, seed: int) -> list[float]:
    """Return the seconds of requests that arrive at random times with a mean rate per second.

    The times depend on the arguments only, not on the responses.
    """
    rng = random.Random(seed)
    begun = time.monotonic()
    with ThreadPoolExecutor(256) as pool:
        futures = []
        arrival = rng.expovariate(rate)
        while arrival < seconds:
            time.sleep(max(0.0, begun + arrival - time.monotonic()))
            futures.append(pool.submit(request, len(futures)))
            arrival += rng.expovariate(rate)
        return [future.result() for future in futures]


@contextmanager
def stream(request: Callable[[int], float]) -> Iterator[list[float]]:
    """Send requests one after the other in a thread; the list has their seconds."""
    stopped, seconds = threading.Event(), list[float]()

    def run() -> None:
        for number in count():
            if stopped.is_set():
                return
            seconds.append(request(number))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seconds
    finally:
        stopped.set()
        thread.join()


def p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=16, help="seconds of each phase")
    parser.add_argument("--phases", type=int, default=6, help="number of pairs of phases")
    args = parser.parse_args()
    machine = report.machine()
    shots = photos.jpegs(MEGAPIXELS)
    with served_models(args.further, args.model_dir) as (server, default):
        models = info(server)["models"]
        process = psutil.Process(server.process.pid)

        def fast(number: int) -> float:
            return send(server, shots[number % len(shots)], default)

        def slow(number: int) -> float:
            return send(server, shots[number % len(shots)], args.further)

        idle = process.memory_info().rss
        throughput = images_per_s(fast, len(os.sched_getaffinity(0)), 5)
        alone: list[float] = []
        beside: list[float] = []
        further: list[float] = []
        ratios: list[float] = []
        for phase in range(args.phases):
            first = poisson(fast, throughput / 2, args.seconds, phase)
            with stream(slow) as seconds:
                second = poisson(fast, throughput / 2, args.seconds, phase)
            alone, beside, further = alone + first, beside + second, further + seconds
            ratios.append(round(p95(second) / p95(first), 3))
        peak = process.memory_info().rss
    found = {
        "models": {
            each["name"]: {"memory_mb": round(each["memory_bytes"] / 2**20), "cost_ms": each["inference"]["cost_ms"]}
            for each in models
        },
        "resident_mb": {"idle": round(idle / 2**20), "after_the_load": round(peak / 2**20)},
        "images_per_s_of_default": round(throughput, 2),
        "requests": {"alone": len(alone), "beside": len(beside), "further": len(further)},
        "p95_ms": {
            "alone": round(1000 * p95(alone), 1),
            "beside": round(1000 * p95(beside), 1),
            "further": round(1000 * p95(further), 1),
        },
        "p50_ms": {
            "alone": round(1000 * statistics.median(alone), 1),
            "beside": round(1000 * statistics.median(beside), 1),
            "further": round(1000 * statistics.median(further), 1),
        },
        "ratio": round(p95(beside) / p95(alone), 3),
        "ratio_of_each_pair": ratios,
        "goal": GOAL,
    }
    report.write(
        "model_latency", "latency of the default model beside a stream of requests for a further model",
        "python -m benchmarks.model_latency --model-dir FOLDER", machine, found,
    )  # fmt: skip
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
