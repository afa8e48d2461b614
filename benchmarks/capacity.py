"""Replicas, cores, GPUs, bandwidth and cost for a load, from measured costs; a simulation checks the p95.

The costs are those of results/scaling.json: CPU time per image by size, through the service. For GPUs they are those of
results/limit_clearcut-s.json, CPU time beyond the model, and ``--gpu-images-per-s``, the rate of the model on one GPU
from ``benchmarks.gpu``. The simulation has Poisson arrivals, a random size for each image, and replicas with one queue
each. An arrival goes to that of two random replicas with the shorter queue, as in Ray Serve.

Run: ``python -m benchmarks.capacity --images-per-day 10e6`` prints a table.
``python -m benchmarks.capacity --check`` compares the simulation with two running replicas and writes
results/capacity.json.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import numpy as np

from benchmarks import report
from benchmarks.photos import jpegs
from tests.support.live_server import served

DAY_S = 86_400
SIMULATED_IMAGES = 20_000
MAX_UTILIZATION = 0.9
DEFAULT_MIX = {0.3: 0.3, 1.0: 0.5, 4.0: 0.15, 10.0: 0.05}
"""Share of the images by megapixels."""
CHECK_SHARES = (0.4, 0.6, 0.75)
"""Loads of the comparison with running replicas, as shares of the maximum rate."""


Post = Callable[[str], float]
"""Sends a request and returns its seconds."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one image costs, by megapixels of the input."""

    cpu_s: Mapping[float, float]
    """CPU seconds, model included."""
    cpu_beyond_model_s: Mapping[float, float]
    """CPU seconds without the model."""
    bytes_out: Mapping[float, float]
    """Bytes of a PNG output."""


@dataclass(frozen=True, slots=True)
class Load:
    """The requests to plan for."""

    per_second: float
    mix: Mapping[float, float]
    """Share of the images by megapixels."""
    p95_s: float
    """Maximum 95th percentile of the time in the service, seconds."""


def measured_costs() -> Costs:
    """Return the stored results of the benchmarks ``scaling`` and ``limit``."""
    scaling = json.loads((report.RESULTS / "scaling.json").read_text())
    limit = json.loads((report.RESULTS / "limit_clearcut-s.json").read_text())
    cpus = scaling["machine"]["cpus"]
    rows = {float(size): row for size, row in scaling["by_megapixels_4_at_once"].items()}
    beyond = limit["cpu_ms_beyond_the_model_one_at_a_time"]
    return Costs(
        {size: cpus / row["images_per_s"] for size, row in rows.items()},
        {float(size.split()[0]): ms / 1000 for size, ms in beyond.items()},
        {size: row["mb_out"] * 1e6 / sum(row["statuses"].values()) for size, row in rows.items()},
    )


def interpolate(values: Mapping[float, float], size: float) -> float:
    """Return the value at a size, on straight lines between the measured ones; beyond the last, in proportion."""
    sizes = sorted(values)
    if size > sizes[-1]:
        return values[sizes[-1]] * size / sizes[-1]
    return float(np.interp(size, sizes, [values[each] for each in sizes]))


def mean(values: Mapping[float, float], mix: Mapping[float, float]) -> float:
    """Return the mean value of an image of the mix."""
    return sum(share * interpolate(values, size) for size, share in mix.items()) / sum(mix.values())


def simulate(arrivals: np.ndarray, services: np.ndarray, replicas: int, servers: int, seed: int = 0) -> np.ndarray:
    """Return the time of each image from its arrival to its end, f64[N] seconds.

    Args:
        arrivals: times of arrival, ascending, f64[N].
        services: service times of the images, f64[N].
        replicas: number of replicas with a queue each.
        servers: images that a replica processes at once.
        seed: of the choice of the replica.
    """
    rng = np.random.default_rng(seed)
    free = [[0.0] * servers for _ in range(replicas)]
    ends: list[list[float]] = [[] for _ in range(replicas)]
    results = np.empty(len(arrivals))
    first = rng.integers(0, replicas, len(arrivals))
    second = (first + rng.integers(1, max(replicas, 2), len(arrivals))) % replicas  # another one
    choices = np.stack([first, second], axis=1)
    for number, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        for each in set(choices[number].tolist()):
            while ends[each] and ends[each][0] <= arrival:
                heapq.heappop(ends[each])
        replica = min(choices[number].tolist(), key=lambda each: len(ends[each]))
        end = max(arrival, heapq.heappop(free[replica])) + service
        heapq.heappush(free[replica], end)
        heapq.heappush(ends[replica], end)
        results[number] = end - arrival
    return results


def simulated_p95(costs: Mapping[float, float], load: Load, replicas: int, servers: int, seed: int = 0) -> float:
    """Return the p95 of ``SIMULATED_IMAGES`` images, seconds. ``costs``: service seconds by megapixels."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / load.per_second, SIMULATED_IMAGES))
    sizes, shares = np.array(list(load.mix)), np.array(list(load.mix.values()), float)
    times = np.array([interpolate(costs, size) for size in sizes])
    services = times[rng.choice(len(sizes), SIMULATED_IMAGES, p=shares / shares.sum())]
    return float(np.percentile(simulate(arrivals, services, replicas, servers, seed), 95))


def required_replicas(costs: Mapping[float, float], load: Load, servers: int) -> tuple[int, float]:
    """Return (smallest number of replicas that meets the p95, that p95).

    Raises:
        ValueError: one image without any wait takes longer than the target.
    """
    slowest = float(np.percentile([interpolate(costs, size) for size in load.mix], 95, method="lower"))
    if slowest > load.p95_s:
        raise ValueError(f"an image takes {slowest:.2f} s without a queue, more than the p95 of {load.p95_s:g} s")
    replicas = math.ceil(load.per_second * mean(costs, load.mix) / servers / MAX_UTILIZATION)
    while (p95 := simulated_p95(costs, load, replicas, servers)) > load.p95_s:
        replicas += max(1, replicas // 50)
    return replicas, p95


def plan(costs: Costs, load: Load, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the resources that a load needs, and their cost."""
    on_gpu = arguments.gpu_images_per_s > 0
    seconds = costs.cpu_beyond_model_s if on_gpu else costs.cpu_s
    replicas, p95 = required_replicas(seconds, load, arguments.cpus)
    cores = replicas * arguments.cpus
    gpus = math.ceil(load.per_second / arguments.gpu_images_per_s / MAX_UTILIZATION) if on_gpu else 0
    bytes_out = mean(costs.bytes_out, load.mix)
    hourly = cores * arguments.core_price + gpus * arguments.gpu_price
    peak = load.per_second
    return {
        "images_per_s": round(peak, 1),
        "replicas": replicas,
        "cores": cores,
        "gpus": gpus,
        "p95_s": round(p95, 3),
        "utilization": round(peak * mean(seconds, load.mix) / cores, 3),
        "mbit_per_s_out": round(peak * bytes_out * 8 / 1e6, 1),
        "mbit_per_s_in": round(peak * arguments.input_mb * 8, 1),
        "cost_per_million": round(hourly * 24 / (arguments.images_per_day / 1e6), 2),
    }


def check(images: int) -> dict[str, object]:
    """Compare the simulation with two running replicas, each with one thread for the model and one for codecs."""
    photo = jpegs(1)[0]
    variables = {"lanes": "1", "intra_op_threads": "1", "workers": "1", "precision": "fp32", "slots": "256"}
    rows = []
    with ExitStack() as stack:
        servers = [stack.enter_context(served(**variables)) for _ in range(2)]
        cores = sorted(os.sched_getaffinity(0))
        for number, server in enumerate(servers):
            for thread in os.listdir(f"/proc/{server.process.pid}/task"):
                os.sched_setaffinity(int(thread), {cores[number % len(cores)]})
        with httpx.Client(trust_env=False, timeout=120, limits=httpx.Limits(max_connections=300)) as client:
            urls = [f"{server.base_url}/v1/remove" for server in servers]

            def post(url: str) -> float:
                begun = time.perf_counter()
                client.post(url, files={"image_file": ("a.jpg", photo, "image/jpeg")}).raise_for_status()
                return time.perf_counter() - begun

            with ThreadPoolExecutor(256) as pool:
                begun = time.perf_counter()
                list(pool.map(post, [urls[number % 2] for number in range(images // 2)]))
                service = 2 * (time.perf_counter() - begun) / (images // 2)
                alone = float(np.median([post(urls[0]) for _ in range(20)]))
                for share in CHECK_SHARES:
                    rows.append(_compare(pool, post, urls, service, alone, share * 2 / service, images))
                    print(rows[-1], flush=True)
    return {"service_s": round(service, 4), "alone_s": round(alone, 4), "loads": rows}


def _compare(
    pool: ThreadPoolExecutor, post: Post, urls: Sequence[str], service: float, alone: float, rate: float, images: int
) -> dict[str, float]:
    """Send Poisson arrivals to the replica with fewer requests, and simulate the same arrivals."""
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / rate, images))
    busy = [0, 0]
    lock = threading.Lock()

    def send() -> float:
        with lock:  # the shorter queue
            number = 0 if busy[0] <= busy[1] else 1
            busy[number] += 1
        try:
            return post(urls[number])
        finally:
            with lock:
                busy[number] -= 1

    begun = time.perf_counter()
    futures = []
    for arrival in arrivals:
        time.sleep(max(0.0, begun + arrival - time.perf_counter()))
        futures.append(pool.submit(send))
    measured = float(np.percentile([future.result() for future in futures], 95))
    waits = simulate(arrivals, np.full(images, service), 2, 1) - service
    simulated = float(np.percentile(waits, 95)) + max(alone, service)
    return {
        "images_per_s": round(rate, 2),
        "measured_p95_s": round(measured, 3),
        "simulated_p95_s": round(simulated, 3),
        "ratio": round(simulated / measured, 3),
    }


def parse_mix(text: str) -> dict[float, float]:
    """Return the shares by megapixels of a text such as ``1:0.7,4:0.3``."""
    pairs = (pair.split(":") for pair in text.split(","))
    return {float(size): float(share) for size, share in pairs}


def parse_arguments(values: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line, or of a list."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images-per-day", type=float, default=1e6)
    parser.add_argument("--peak", type=float, default=2.5, help="rate of the busiest hour over the mean of the day")
    parser.add_argument("--mix", type=parse_mix, default=DEFAULT_MIX, help="such as 1:0.7,4:0.3")
    parser.add_argument("--p95", type=float, default=2.0, help="seconds")
    parser.add_argument("--cpus", type=int, default=4, help="CPUs of a replica")
    parser.add_argument("--input-mb", type=float, default=0.5, help="mean megabytes of an input")
    parser.add_argument("--core-price", type=float, default=0.04, help="price of a core for an hour")
    parser.add_argument("--gpu-price", type=float, default=0.8, help="price of a GPU for an hour")
    parser.add_argument("--gpu-images-per-s", type=float, default=0, help="of the model on one GPU; 0: no GPUs")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--check-images", type=int, default=400)
    return parser.parse_args(values)


def planned(costs: Costs, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the plan for the arguments of the command line."""
    rate = arguments.images_per_day * arguments.peak / DAY_S
    return plan(costs, Load(rate, arguments.mix, arguments.p95), arguments)


def main() -> None:
    arguments = parse_arguments()
    if arguments.check:
        machine = report.machine()
        figures = check(arguments.check_images)
        question = "the simulated p95 beside that of two running replicas, 1 MP"
        report.write("capacity", question, "python -m benchmarks.capacity --check", machine, figures)
        return
    for name, value in planned(measured_costs(), arguments).items():
        print(f"{name:18} {value:g}")


if __name__ == "__main__":
    main()
