"""Throughput of the service as a share of the machine's limit with the same model.

The limit is ``OnnxEngine`` in a loop on every CPU, without HTTP, codecs or batcher: the better of one session of n
threads and n sessions of one thread. The service runs the same model over HTTP at ``size=medium``, 1 megapixel,
alternating with it. Also: CPU seconds per request beyond the model's, under that load and for one request at a time
at full size. Under load, both CPUs share caches, so the second figure is the cost itself.

Run: ``python -m benchmarks.limit --model u2netp --weights FOLDER``; writes results/limit_MODEL.json.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks import report
from benchmarks.load import Target, closed
from benchmarks.photos import jpegs
from clearcut.inference.model_files import ModelFile, load_model
from clearcut.inference.session import OnnxEngine
from clearcut.system import cpu_quota
from tests.support.live_server import served


def raw(model: ModelFile, lanes: int, threads: int, seconds: float) -> float:
    """Return images per second of ``lanes`` concurrent sessions, batch 1."""
    side = model.entry.input.side
    image = np.random.default_rng(1).normal(0, 1, (1, 3, side, side)).astype(np.float32)
    engines = [OnnxEngine(model, "cpu", threads) for _ in range(lanes)]
    for engine in engines:
        engine.warm(image)
    counts = [0] * lanes
    until = time.perf_counter() + seconds

    def work(lane: int) -> None:
        while time.perf_counter() < until:
            engines[lane].run(image)
            counts[lane] += 1

    begun = time.perf_counter()
    running = [threading.Thread(target=work, args=(lane,)) for lane in range(lanes)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun)


def own_cpu(model: ModelFile, seconds: float) -> float:
    """Return the CPU seconds of one run on one thread."""
    side = model.entry.input.side
    engine = OnnxEngine(model, "cpu", 1)
    image = np.random.default_rng(1).normal(0, 1, (1, 3, side, side)).astype(np.float32)
    engine.warm(image)
    runs, begun, until = 0, time.thread_time(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        engine.run(image)
        runs += 1
    return (time.thread_time() - begun) / runs


def alone(model: ModelFile, folder: Path, megapixels: float, rounds: int, seconds: float) -> list[float]:
    """Return the CPU seconds beyond the model's of one request at a time, full size, alternating with the model
    itself.
    """
    images = jpegs(megapixels)
    beyond = []
    how = {"precision": model.entry.precision, "lanes": "1", "intra_op_threads": "1", "buckets": "1"}
    with served(model=model.entry.name, model_dir=str(folder.resolve()), **how) as server:
        process = psutil.Process(server.pid)
        target = Target(server.host, server.port, "/v1/remove")
        closed(target, images, 1, 2)
        for _ in range(rounds):
            before = process.cpu_times()
            load = closed(target, images, 1, seconds)
            after = process.cpu_times()
            busy = (after.user + after.system - before.user - before.system) / len(load.latencies)
            beyond.append(busy - own_cpu(model, seconds / 2))
    return beyond


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="u2netp")
    parser.add_argument("--weights", type=Path, default=Path("models"), help="folder with the model's file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--lanes", help="concurrent sessions of the service; measured by default")
    parser.add_argument("--threads", help="threads of each session of the service; measured by default")
    args = parser.parse_args()
    plan = {"lanes": args.lanes, "intra_op_threads": args.threads}
    chosen = {name: value for name, value in plan.items() if value is not None}
    machine = report.machine()
    model = load_model(args.model, extra_dir=args.weights)
    cpus = cpu_quota()
    shapes = [(1, cpus), (cpus, 1)] if cpus > 1 else [(1, 1)]
    images = jpegs(1)
    ratios, rounds, overhead = [], [], []
    how = {"model": args.model, "model_dir": str(args.weights.resolve()), "precision": model.entry.precision}
    with served(**how, **chosen) as server:
        process = psutil.Process(server.pid)
        target = Target(server.host, server.port, "/v1/remove?size=medium")
        closed(target, images, 4, 2)
        for _ in range(args.rounds):
            limit = max(raw(model, lanes, threads, args.seconds / 2) for lanes, threads in shapes)
            before = process.cpu_times()
            load = closed(target, images, 8, args.seconds)
            after = process.cpu_times()
            assert set(load.statuses) == {200}, load.statuses
            busy = (after.user + after.system - before.user - before.system) / len(load.latencies)
            rounds.append({"raw": round(limit, 2), "service": round(load.rate, 2), "cpu_s_a_request": round(busy, 4)})
            ratios.append(load.rate / limit)
            overhead.append(busy - cpus / limit)
    costs = {f"{mp} MP": alone(model, args.weights, mp, args.rounds, args.seconds / 2) for mp in (1, 10)}
    figures = {
        "model": args.model,
        "raw_images_per_s": statistics.median(round_["raw"] for round_ in rounds),
        "service_images_per_s": statistics.median(round_["service"] for round_ in rounds),
        "service_over_raw": round(statistics.median(ratios), 3),
        "cpu_s_a_request_beyond_the_model": round(statistics.median(overhead), 4),
        "cpu_ms_beyond_the_model_one_at_a_time": {
            size: round(1000 * statistics.median(beyond), 1) for size, beyond in costs.items()
        },
        "turns": rounds,
    }
    report.write(
        f"limit_{args.model}",
        "the service against the raw session, 1 MP, size=medium, 8 concurrent requests",
        f"python -m benchmarks.limit --model {args.model}",
        machine,
        figures,
    )
    for name, value in figures.items():
        print(f"{name:<36}{value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
