"""Throughput and latency beside rembg's own server on the same machine, weights and photos.

Both servers run at the same time and are loaded alternately, A B A B, so that other load affects both. The figure is
the median of the ratios of neighboring turns. rembg is installed at a pinned version into its own environment under
``.cache/``. JPEG in, PNG out, full size, including the client.

Run: ``python -m benchmarks.vs_rembg --weights FOLDER`` with u2netp.onnx in FOLDER; writes results/vs_rembg.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import report
from benchmarks.load import Target, closed, form_target
from benchmarks.photos import jpegs
from tests.support.live_server import served

REMBG = "rembg[cpu,cli]==2.0.86"
ENVIRONMENT = Path(__file__).resolve().parents[1] / ".cache" / "rembg"
WORK = {  # name: (model, precision, megapixels, concurrency, figure, target)
    "u2netp, 1 MP, 8 at once": ("u2netp", "fp32", 1, 8, "rate", 1.45),
    "u2netp, 10 MP, 4 at once": ("u2netp", "fp32", 10, 4, "rate", 3.0),
    "u2netp, 10 MP, one at a time: latency": ("u2netp", "fp32", 10, 1, "latency", 0.28),
    "u2netp in int8, 1 MP, 8 at once": ("u2netp", "int8", 1, 8, "rate", 2.2),
    "default model, 1 MP, 8 at once": ("", "auto", 1, 8, "rate", 9.0),
    "default model, 10 MP, 4 at once": ("", "auto", 10, 4, "rate", 10.0),
}


def installed() -> Path:
    """Return rembg's command, in its own environment."""
    command = ENVIRONMENT / "bin" / "rembg"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(ENVIRONMENT / "bin" / "pip"), "install", "-q", REMBG], check=True)
    return command


@contextmanager
def rembg_served(weights: Path) -> Iterator[Target]:
    """Run rembg's server with u2netp, and yield it after its first response."""
    rembg = installed()
    home = ENVIRONMENT / "models"
    home.mkdir(exist_ok=True)
    shutil.copyfile(weights / "u2netp.onnx", home / "u2netp.onnx")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "U2NET_HOME": str(home), "MODEL_CHECKSUM_DISABLED": "1"}
    command = [str(rembg), "s", "-p", str(port), "-h", "127.0.0.1", "-l", "error", "--no-ui"]
    server = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield form_target("127.0.0.1", port, "/api/remove", "file", {"model": "u2netp"})
    finally:
        server.terminate()
        server.wait(30)


def compare(ours: Target, theirs: Target, megapixels: float, concurrency: int, rounds: int, seconds: float) -> dict:
    images = jpegs(megapixels)
    for target in (ours, theirs):
        check = closed(target, images, 1, 0)
        assert check.statuses == {200: 1}, check.statuses
    rates, latencies = [], []
    for _ in range(rounds):
        pair = [closed(target, images, concurrency, seconds) for target in (ours, theirs)]
        assert all(set(load.statuses) == {200} for load in pair), [load.statuses for load in pair]
        rates.append([load.rate for load in pair])
        latencies.append([load.percentile(0.5) for load in pair])
    return {
        "images_per_s": [round(statistics.median(each), 2) for each in zip(*rates, strict=True)],
        "median_latency_s": [round(statistics.median(each), 3) for each in zip(*latencies, strict=True)],
        "rate_ratio": round(statistics.median(a / b for a, b in rates), 2),
        "latency_ratio": round(statistics.median(a / b for a, b in latencies), 3),
        "turns": [[round(a, 2), round(b, 2)] for a, b in rates],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder with u2netp.onnx, and u2netp.int8.onnx if there is one"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12)
    args = parser.parse_args()
    machine = report.machine()
    rows = {}
    with rembg_served(args.weights) as theirs:
        for model, precision in dict.fromkeys(work[:2] for work in WORK.values()):
            if precision == "int8" and not (args.weights / f"{model}.int8.onnx").exists():
                print(f"{model} in int8 is not in {args.weights.name}: make quantise-{model}")
                continue
            environ = {"model": model, "model_dir": str(args.weights.resolve())} if model else {}
            with served(precision=precision, **environ) as server:
                ours = form_target(server.host, server.port, "/v1/remove", "image_file", {})
                for name, (*setup, megapixels, concurrency, figure, target) in WORK.items():
                    if setup != [model, precision]:
                        continue
                    row = compare(ours, theirs, megapixels, concurrency, args.rounds, args.seconds)
                    ratio = row[f"{figure}_ratio"]
                    met = ratio >= target if figure == "rate" else ratio <= target
                    rows[name] = row | {"figure": figure, "target": target, "met": met}
                    print(f"{name:<42}{figure} ratio {ratio:<7} target {target:<6}{'met' if met else 'missed'}  {row}")
    report.write(
        "vs_rembg", "relative to rembg's server: ours / theirs", "python -m benchmarks.vs_rembg", machine,
        {"rembg": REMBG, "work": rows},
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
