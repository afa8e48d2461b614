"""Peak memory of one request for each output format and size, for the reservation (``Writer.memory_factor``).

    python -m benchmarks.format_memory

Each request runs in a new process: decoding a JPEG, refining with a mask, composing and encoding. The peak is the
growth of resident memory. The result is in ``benchmarks/results/format_memory.json``.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.hostile_cost import resident
from clearcut import Remover
from clearcut.imaging.codec_setup import disable_codec_threads
from tests.support import samples

MEGAPIXELS = (1, 4, 12, 15.9)
FORMATS = ("png", "jpg", "webp", "avif", "zip")


def measure(megapixels: float, fmt: str, noise: bool) -> float:
    """Return the peak in bytes for each pixel. Noise is encoded in quality 100, photos in the default quality."""
    disable_codec_threads()
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = int(megapixels * 1e6 / width)
    random = np.random.default_rng(0)
    if noise:
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        mask = random.integers(0, 256, (height, width), np.uint8)
    else:
        image, mask = samples.photo("coffee", width, height), samples.disc(height, width, soft=40)
    files = samples.jpeg(image, quality=85), samples.png(mask)
    options = {"quality": "100"} if noise and fmt in ("jpg", "webp", "avif") else {}
    del image, mask
    with Remover() as remover:
        remover.remove(samples.jpeg(samples.photo("coffee")), format=fmt)
        Path("/proc/self/clear_refs").write_text("5")
        before, _ = resident()
        remover.remove(files[0], mask=files[1], format=fmt, **options)
        _, peak = resident()
    return round((peak - before) * 2**20 / (width * height), 1)


def main() -> None:
    machine = report.machine()
    context = multiprocessing.get_context("spawn")
    results: dict[str, Any] = {}
    for fmt in FORMATS:
        for megapixels in MEGAPIXELS:
            for noise in (False, True):
                with context.Pool(1) as pool:
                    found = pool.apply(measure, (megapixels, fmt, noise))
                name = "noise" if noise else "photo"
                results.setdefault(fmt, {}).setdefault(str(megapixels), {})[name] = found
                print(f"{fmt:<5}{megapixels:>5} MP {name}: {found} bytes a pixel", flush=True)
    question = "peak memory of a request for each output format"
    report.write("format_memory", question, "python -m benchmarks.format_memory", machine, {"bytes_per_pixel": results})


if __name__ == "__main__":
    main()
