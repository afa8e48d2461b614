"""A folder of 500 photos of 1 megapixel: ``clearcut cut``, the HTTP service and ``rembg p``, images per second.

The three process the same files one after the other, in each of three rounds. The figure is the median of the rounds.
The time of the two commands includes their start. The service is already running; a client with 8 threads sends it the
files and writes the responses to a folder. rembg processes one of ten files, because it takes far longer, and its rate
excludes its start. It uses u2netp; Clearcut uses its default model.

Run: ``python -m benchmarks.folder --weights FOLDER`` with u2netp.onnx in FOLDER; writes results/folder.json.
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
from pathlib import Path

import cv2
import httpx
import numpy as np

from benchmarks import report
from benchmarks.photos import jpegs
from benchmarks.vs_rembg import ENVIRONMENT, installed
from tests.support.live_server import environment, served

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


def cut(files: list[Path], out: Path) -> float:
    """Return the images per second of ``clearcut cut``, with its start."""
    command = [sys.executable, "-m", "clearcut", "cut", str(files[0].parent), str(out)]
    begun = time.perf_counter()
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    return len(files) / (time.perf_counter() - begun)


def service(url: str, files: list[Path], out: Path) -> float:
    """Return the images per second of the service with a client of eight threads that writes files."""
    out.mkdir()
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client, ThreadPoolExecutor(THREADS) as threads:

        def send(file: Path) -> None:
            response = client.post("/v1/remove", files={"image_file": file.read_bytes()}).raise_for_status()
            (out / f"{file.stem}.png").write_bytes(response.content)

        begun = time.perf_counter()
        list(threads.map(send, files))
        return len(files) / (time.perf_counter() - begun)


def rembg(files: list[Path], out: Path, weights: Path) -> float:
    """Return the images per second of ``rembg p`` without its start, from runs with one file and with all."""
    home = ENVIRONMENT / "models"
    installed()
    home.mkdir(exist_ok=True)
    shutil.copyfile(weights / "u2netp.onnx", home / "u2netp.onnx")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "U2NET_HOME": str(home), "MODEL_CHECKSUM_DISABLED": "1"}
    seconds = []
    for part in (files[:1], files):
        source = out / f"{len(part)}-in"
        source.mkdir(parents=True)
        for file in part:
            shutil.copyfile(file, source / file.name)
        begun = time.perf_counter()
        command = [str(installed()), "p", "-m", "u2netp", str(source), str(out / f"{len(part)}-out")]
        subprocess.run(command, env=environ, check=True, capture_output=True)
        seconds.append(time.perf_counter() - begun)
        assert len(list((out / f"{len(part)}-out").iterdir())) == len(part)
    return (len(files) - 1) / (seconds[1] - seconds[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    facts = report.machine()
    rates: dict[str, list[float]] = {"clearcut cut": [], "HTTP service": [], "rembg p": []}
    with tempfile.TemporaryDirectory() as name, served() as server:
        folder = Path(name)
        files = write_photos(folder / "in", args.photos)
        for number in range(args.rounds):
            rates["clearcut cut"].append(cut(files, folder / f"cut-{number}"))
            rates["HTTP service"].append(service(server.base_url, files, folder / f"service-{number}"))
            rates["rembg p"].append(rembg(files[::SHARE_OF_REMBG], folder / f"rembg-{number}", args.weights))
            assert len(list((folder / f"cut-{number}").iterdir())) == len(files)
            print({key: round(values[-1], 2) for key, values in rates.items()}, flush=True)
            for old in folder.glob(f"*-{number}"):
                shutil.rmtree(old)
    middle = {key: round(statistics.median(values), 2) for key, values in rates.items()}
    figures = {
        "photos": args.photos,
        "images_per_s": middle,
        "cut_over_service": round(
            statistics.median(a / b for a, b in zip(rates["clearcut cut"], rates["HTTP service"], strict=True)), 2
        ),
        "cut_over_rembg": round(
            statistics.median(a / b for a, b in zip(rates["clearcut cut"], rates["rembg p"], strict=True)), 1
        ),
    }
    command = "python -m benchmarks.folder --weights FOLDER"
    report.write("folder", "a folder of photos: command, service and rembg", command, facts, figures)
    print(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
