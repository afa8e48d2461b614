"""A folder of 500 photos of 1 megapixel: ``clearcut cut``, the HTTP service and ``rembg p``, images per second.

The three process the same files one after the other, in each of three rounds. The figure is the median of the rounds.
The time of ``clearcut cut`` includes its start. The service is already running; a client with 8 threads sends it the
files and writes the responses to a folder. rembg processes one of ten files, because it takes far longer, and its rate
excludes its start. It uses u2netp; Clearcut uses its default model. CPU seconds are those of all processes together:
of the command, or of the service and its client.

Run: ``python -m benchmarks.folder --weights FOLDER`` with u2netp.onnx in FOLDER; writes results/folder.json. It
installs rembg into .cache/rembg; ``--rembg COMMAND`` uses an installed one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import psutil

from benchmarks import report
from benchmarks.photos import jpegs
from benchmarks.vs_rembg import installed
from tests.support.live_server import Server, environment, served

PHOTOS, SHARE_OF_REMBG, THREADS = 500, 10, 8


def write_photos(folder: Path, count: int) -> list[Path]:
    """Write ``count`` different JPEG files of about 1 megapixel: shifted crops of four photos."""
    folder.mkdir()
    sources = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in jpegs(1.2)]
    files = []
    for number in range(count):
        source, shift = sources[number % len(sources)], 1 + number // len(sources) % 90
        crop = source[shift // 2 : -shift, shift:]
        files.append(folder / f"{number:03}.jpg")
        cv2.imwrite(str(files[-1]), crop, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return files


@dataclass(frozen=True)
class Speed:
    """The speed of one turn."""

    rate: float
    """Images per second."""
    cpu_ms: float
    """CPU milliseconds per image."""


def cpu_s(server: int | None = None) -> float:
    """Return the CPU seconds of this process, of its ended children, and of the running process ``server``."""
    used = sum(os.times()[:4])
    return used if server is None else used + sum(psutil.Process(server).cpu_times()[:2])


def cut(files: list[Path], out: Path) -> Speed:
    """Measure ``clearcut cut`` with its start."""
    command = [sys.executable, "-m", "clearcut", "cut", str(files[0].parent), str(out)]
    begun, cpu = time.perf_counter(), cpu_s()
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    return Speed(len(files) / (time.perf_counter() - begun), 1000 * (cpu_s() - cpu) / len(files))


def service(server: Server, files: list[Path], out: Path) -> Speed:
    """Measure the service with a client of eight threads that writes files."""
    out.mkdir()
    limits = httpx.Limits(max_connections=THREADS)
    with (
        httpx.Client(base_url=server.base_url, timeout=120, trust_env=False, limits=limits) as client,
        ThreadPoolExecutor(THREADS) as threads,
    ):

        def send(file: Path) -> None:
            response = client.post("/v1/remove", files={"image_file": file.read_bytes()}).raise_for_status()
            (out / f"{file.stem}.png").write_bytes(response.content)

        begun, cpu = time.perf_counter(), cpu_s(server.pid)
        list(threads.map(send, files))
        return Speed(len(files) / (time.perf_counter() - begun), 1000 * (cpu_s(server.pid) - cpu) / len(files))


def rembg(command: Path, files: list[Path], out: Path, weights: Path) -> Speed:
    """Measure ``rembg p`` without its start: the difference between runs with one file and with all."""
    home = out / "models"
    home.mkdir(parents=True)
    shutil.copyfile(weights / "u2netp.onnx", home / "u2netp.onnx")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "U2NET_HOME": str(home), "MODEL_CHECKSUM_DISABLED": "1"}
    seconds, cpu = [], []
    for part in (files[:1], files):
        source = out / f"{len(part)}-in"
        source.mkdir(parents=True)
        for file in part:
            shutil.copyfile(file, source / file.name)
        begun, used = time.perf_counter(), cpu_s()
        words = [str(command), "p", "-m", "u2netp", str(source), str(out / f"{len(part)}-out")]
        subprocess.run(words, env=environ, check=True, capture_output=True)
        seconds.append(time.perf_counter() - begun)
        cpu.append(cpu_s() - used)
        assert len(list((out / f"{len(part)}-out").iterdir())) == len(part)
    count = len(files) - 1
    return Speed(count / (seconds[1] - seconds[0]), 1000 * (cpu[1] - cpu[0]) / count)


def median_ratio(a: list[Speed], b: list[Speed]) -> float:
    return statistics.median(x.rate / y.rate for x, y in zip(a, b, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rembg", type=Path, help="command of an installed rembg")
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print the figures and do not store them")
    args = parser.parse_args()
    machine = report.machine()
    command = args.rembg or installed()
    turns: dict[str, list[Speed]] = {"clearcut cut": [], "HTTP service": [], "rembg p": []}
    with tempfile.TemporaryDirectory() as name, served() as server:
        folder = Path(name)
        files = write_photos(folder / "in", args.photos)
        for number in range(args.rounds):
            turns["clearcut cut"].append(cut(files, folder / f"cut-{number}"))
            turns["HTTP service"].append(service(server, files, folder / f"service-{number}"))
            turns["rembg p"].append(rembg(command, files[::SHARE_OF_REMBG], folder / f"rembg-{number}", args.weights))
            assert len(list((folder / f"cut-{number}").iterdir())) == len(files)
            print(
                {key: [round(each[-1].rate, 2), round(each[-1].cpu_ms, 1)] for key, each in turns.items()}, flush=True
            )
            for old in folder.glob(f"*-{number}"):
                shutil.rmtree(old)
    figures = {
        "photos": args.photos,
        "photos_of_rembg": len(files[::SHARE_OF_REMBG]),
        "images_per_s": {key: round(statistics.median(each.rate for each in all_), 2) for key, all_ in turns.items()},
        "cpu_ms": {key: round(statistics.median(each.cpu_ms for each in all_), 1) for key, all_ in turns.items()},
        "turns": {key: [round(each.rate, 2) for each in all_] for key, all_ in turns.items()},
        "cut_over_service": round(median_ratio(turns["clearcut cut"], turns["HTTP service"]), 2),
        "cut_over_rembg": round(median_ratio(turns["clearcut cut"], turns["rembg p"]), 1),
    }
    if not args.dry:
        words = "python -m benchmarks.folder --weights FOLDER"
        report.write("folder", "a folder of photos: command, service and rembg", words, machine, figures)
    print(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
