"""Bytes and CPU time of JPEG outputs: baseline, with optimized tables, and progressive.

    python -m benchmarks.jpeg_kinds

The images are cut-outs of public-domain photos on white, in quality 90 without chroma subsampling. Milliseconds are CPU
time, the best of three. The result is in ``benchmarks/results/jpeg_kinds.json``.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import cv2
import numpy as np

from benchmarks import report
from tests.support import samples

KINDS = {
    "baseline": [],
    "optimized": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
}
SIZES = ((64, 64), (160, 120), (320, 240), (512, 512), (1000, 1000), (2000, 1500), (4000, 3000))
QUALITY = [
    cv2.IMWRITE_JPEG_QUALITY, 90,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]  # fmt: skip


def encode(pixels: np.ndarray, options: list[int]) -> tuple[int, float]:
    """Return (bytes, CPU milliseconds)."""
    begun = time.process_time()
    _, data = cv2.imencode(".jpg", pixels, [*QUALITY, *options])
    return len(data), (time.process_time() - begun) * 1e3


def measure(width: int, height: int) -> dict[str, dict[str, float]]:
    alpha = samples.disc(height, width)[:, :, None] / 255
    images = [
        (samples.photo(name, width, height) * alpha + 255 * (1 - alpha)).astype(np.uint8) for name in samples.PHOTOS
    ]
    rows: dict[str, dict[str, float]] = {}
    for kind, options in KINDS.items():
        best = [min((encode(image, options) for _ in range(3)), key=lambda run: run[1]) for image in images]
        size, spent = (statistics.median(each[index] for each in best) for index in (0, 1))
        rows[kind] = {"bytes": size, "cpu_ms": round(spent, 2)}
    for row in rows.values():
        row["of_baseline"] = round(row["bytes"] / rows["baseline"]["bytes"], 3)
    return rows


def main() -> None:
    cv2.setNumThreads(1)
    machine = report.machine()
    results: dict[str, Any] = {}
    for width, height in SIZES:
        results[f"{width} x {height}"] = measure(width, height)
        print(f"{width} x {height}", results[f"{width} x {height}"], flush=True)
    question = "bytes and CPU time of baseline, optimized and progressive JPEG"
    report.write("jpeg_kinds", question, "python -m benchmarks.jpeg_kinds", machine, {"results": results})


if __name__ == "__main__":
    main()
