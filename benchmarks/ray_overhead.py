"""The cost of Ray in bulk runs: two actors beside two plain processes, and the gain from the second one.

Each turn processes the same images with one plain process, one actor, two processes and two actors. A plain process
is ``clearcut cut`` on its share of the images with one CPU. The start and the end are not counted: the clock runs from
the time with 10 % of the outputs to the time with 90 % of them, because all processes and actors work in between. The
figures are medians of the ratios within a turn.

Run on an idle machine with two CPUs (7 minutes): ``.venv-ray/bin/python -m benchmarks.ray_overhead``; writes
results/ray_overhead.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from tests.support.ray_runs import write_images

ENVIRON = {"CLEARCUT_LANES": "1", "CLEARCUT_INTRA_OP_THREADS": "1", "CLEARCUT_PRECISION": "fp32"}
TARGETS = {"two_actors_over_two_processes": 0.90, "gain_over_gain_of_processes": 0.95}


def rate(folder: Path) -> float:
    """Return the images per second of a run without its first and last outputs."""
    times = sorted(path.stat().st_mtime for path in folder.rglob("*.png"))
    edge = len(times) // 10
    return (len(times) - 1 - 2 * edge) / (times[-1 - edge] - times[edge])


def run(commands: list[list[object]]) -> None:
    """Run ``clearcut cut`` with each list of arguments at the same time."""
    environ = os.environ | ENVIRON
    running = [
        subprocess.Popen([sys.executable, "-m", "clearcut", "cut", *map(str, each)], env=environ) for each in commands
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"clearcut cut ended with {codes}")


def turn(photos: Path, folder: Path) -> dict[str, float]:
    """Return images/s by kind of run."""
    rates = {}
    for count in (1, 2):
        shares = [photos / str(count) / str(number) for number in range(count)]
        out = folder / f"plain{count}"
        run([[share, out / share.name, "--workers", 1] for share in shares])
        rates[f"processes_{count}"] = rate(out)
        out = folder / f"ray{count}"
        on_ray = ["--ray", "local", "--actors", count, "--actor-cpus", 1, "--failures", folder / "failures.jsonl"]
        run([[photos / str(count), out, *on_ray]])
        rates[f"actors_{count}"] = rate(out)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--turns", type=int, default=4)
    arguments = parser.parse_args()
    facts = report.machine()
    turns = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "all", arguments.images, 0)
        photos = sorted((folder / "all").rglob("*.jpg"))
        for count in (1, 2):
            for number, path in enumerate(photos):
                target = folder / "photos" / str(count) / str(number % count) / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        for number in range(arguments.turns):
            turns.append(turn(folder / "photos", folder / f"turn{number}"))
            print(turns[-1], flush=True)
    overhead = statistics.median(each["actors_2"] / each["processes_2"] for each in turns)
    gain = statistics.median(
        (each["actors_2"] / each["actors_1"]) / (each["processes_2"] / each["processes_1"]) for each in turns
    )
    figures = {"two_actors_over_two_processes": round(overhead, 3), "gain_over_gain_of_processes": round(gain, 3)}
    print(figures)
    question = "images/s of bulk runs on Ray beside plain processes"
    command = "python -m benchmarks.ray_overhead"
    details = {"images": len(photos), "turns": [{name: round(x, 2) for name, x in each.items()} for each in turns]}
    report.write("ray_overhead", question, command, facts, {**figures, "targets": TARGETS, **details})


if __name__ == "__main__":
    main()
