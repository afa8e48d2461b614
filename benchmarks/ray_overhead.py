"""The cost of Ray in bulk runs: two actors beside two plain processes, and the gain from the second one.

Each round processes the same images with one plain process, one actor, two processes and two actors. A plain process
is ``clearcut cut`` on its share of the images. Both have one model thread, one codec thread, six images in progress,
the same batch size and the same precision. The start and the end are not counted: the clock runs from the time with
25 % of the outputs to the time with 90 % of them, because all processes and actors work in between. The figures are
medians of the ratios within a round. The CPU time of each process in the same interval shows where a loss comes from.

Run on an idle machine with two CPUs (5 minutes): ``.venv-ray/bin/python -m benchmarks.ray_overhead``; writes
results/ray_overhead.json.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import report
from tests.support.ray_runs import write_images

ENVIRON = {
    "CLEARCUT_LANES": "1", "CLEARCUT_INTRA_OP_THREADS": "1", "CLEARCUT_PRECISION": "fp32",
    "CLEARCUT_BUCKETS": "1",  # plain processes would measure the batch sizes
    "OMP_NUM_THREADS": "1",  # as Ray sets it for actors with one CPU
}  # fmt: skip
TARGETS = {"two_actors_over_two_processes": 0.90, "gain_over_gain_of_processes": 0.95}
FIRST, LAST = 0.25, 0.90
"""Shares of the outputs between which the clock runs."""
POLL_S = 0.25
WORKERS = ("clearcut", "MapWorker")
"""Processes that run the model: plain processes, and actors. With Ray, ``clearcut`` is the command."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run between ``FIRST`` and ``LAST``."""

    rate: float
    """Images per second."""
    cores: Counter[str]
    """CPU seconds per second by the name of the process."""


def rate(folder: Path) -> float:
    """Return the images per second of a run without its first and last outputs."""
    times = sorted(path.stat().st_mtime for path in folder.rglob("*.png"))
    first, last = int(FIRST * len(times)), int(LAST * len(times)) - 1
    return (last - first) / (times[last] - times[first])


def process_name(command: list[str]) -> str:
    """Return a short name of a process: the class of a Ray worker, the name of a script, or the program."""
    if worker := re.match(r"ray::(\w+)", command[0]):
        return worker[1]
    if "clearcut" in command:
        return "clearcut"
    return next((Path(each).name for each in command if each.endswith(".py")), Path(command[0]).name)


def cpu_seconds(roots: Iterable[int]) -> dict[int, tuple[str, float]]:
    """Return name and CPU seconds of processes and their children, by process number."""
    found = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(root)
            for process in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                    found[process.pid] = process_name(process.cmdline()), sum(process.cpu_times()[:2])
    return found


def run(commands: list[list[object]], out: Path, images: int) -> Measurement:
    """Run ``clearcut cut`` with each list of arguments at the same time, and measure the outputs in ``out``."""
    environ = os.environ | ENVIRON
    running = [
        subprocess.Popen([sys.executable, "-m", "clearcut", "cut", *map(str, each)], env=environ) for each in commands
    ]
    samples = []
    for share in (FIRST, LAST):
        while sum(1 for _ in out.rglob("*.png")) < share * images and any(each.poll() is None for each in running):
            time.sleep(POLL_S)
        samples.append((time.monotonic(), cpu_seconds(each.pid for each in running)))
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"clearcut cut ended with {codes}")
    (begun, before), (ended, after) = samples
    cores: Counter[str] = Counter()
    for number, (name, seconds) in after.items():
        cores[name] += (seconds - before.get(number, ("", 0.0))[1]) / (ended - begun)
    return Measurement(rate(out), cores)


def measure_round(photos: Path, folder: Path, images: int, *, actors_first: bool) -> dict[str, Measurement]:
    """Return the measurement of each kind of run."""
    found = {}
    on_ray = ["--ray", "local", "--actor-cpus", 1, "--failures", folder / "failures.jsonl"]
    kinds = sorted(
        itertools.product((1, 2), ("processes", "actors")), key=lambda each: each[1], reverse=not actors_first
    )
    for count, kind in kinds:
        out = folder / f"{kind}_{count}"
        out.mkdir(parents=True)
        shares = [photos / str(count) / str(number) for number in range(count)]
        plain = [[share, out / share.name, "--workers", 1] for share in shares]
        ray = [[photos / str(count), out, *on_ray, "--actors", count]]
        found[out.name] = run(plain if kind == "processes" else ray, out, images)
        shutil.rmtree(out)
    return found


def copy_shares(source: Path, target: Path) -> None:
    """Copy the images of a folder into one folder for one process, and into two folders for two processes."""
    photos = sorted(source.rglob("*.jpg"))
    for count, (number, path) in itertools.product((1, 2), enumerate(photos)):
        copy = target / str(count) / str(number % count) / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    machine = report.machine()
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "all", arguments.images, 0)
        copy_shares(folder / "all", folder / "photos")
        for number in range(arguments.rounds):
            out = folder / f"round{number}"
            measured = measure_round(folder / "photos", out, arguments.images, actors_first=bool(number % 2))
            rounds.append(measured)
            print({kind: round(found.rate, 2) for kind, found in measured.items()}, flush=True)
    figures = summarize(rounds)
    for figure, value in figures.items():
        print(figure, value)
    question = "images/s of bulk runs on Ray beside plain processes"
    command = "python -m benchmarks.ray_overhead"
    rates = [{kind: round(found.rate, 2) for kind, found in sorted(each.items())} for each in rounds]
    details = {"targets": TARGETS, "images": arguments.images, "turns": rates}
    report.write("ray_overhead", question, command, machine, {**figures, **details})


def summarize(rounds: list[dict[str, Measurement]]) -> dict[str, object]:
    """Return the medians over all rounds."""
    rates = [{kind: found.rate for kind, found in each.items()} for each in rounds]
    overhead = statistics.median(each["actors_2"] / each["processes_2"] for each in rates)
    gain = statistics.median(
        (each["actors_2"] / each["actors_1"]) / (each["processes_2"] / each["processes_1"]) for each in rates
    )
    cores: dict[str, dict[str, float]] = {}
    milliseconds: dict[str, float] = {}
    for kind in sorted(rounds[0]):
        names = {name for each in rounds for name in each[kind].cores}
        medians = {name: statistics.median(each[kind].cores[name] for each in rounds) for name in names}
        cores[kind] = {name: round(medians[name], 3) for name in sorted(medians, key=lambda name: -medians[name])}
        worker = WORKERS["actors" in kind]
        milliseconds[kind] = round(
            statistics.median(1000 * each[kind].cores[worker] / each[kind].rate for each in rounds), 2
        )
    return {
        "two_actors_over_two_processes": round(overhead, 3),
        "gain_over_gain_of_processes": round(gain, 3),
        "model_process_cpu_ms_per_image": milliseconds,
        "cores_by_process": cores,
    }


if __name__ == "__main__":
    main()
