"""Bytes, CPU time and memory of every input and output format at 1 and 12 megapixels.

Inputs are photos; outputs are cut-outs with a soft edge. Milliseconds are CPU time of the process, the median of three
photos. Memory is the growth of the process's high-water mark for one image. HEIC includes the time of the decoder's
process, but not its memory. HEIC files need an encoder: the row is measured only where ``pillow-heif`` is installed.

Run: ``python -m benchmarks.formats [NAME ...]``; writes results/formats.json. With names, such as ``jpg zip``, only
these rows are measured, and the others stay.
"""

from __future__ import annotations

import importlib.util
import io
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks import report
from benchmarks.codecs import cutout
from benchmarks.hostile_cost import resident
from benchmarks.photos import jpegs
from clearcut.imaging.codec_setup import disable_codec_threads
from clearcut.imaging.decode import decode
from clearcut.imaging.encode import encode
from clearcut.imaging.formats.registry import INPUT_FORMATS, OUTPUT_FORMATS
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ComposedImage, ProbeLimits
from tests.support import heif_files, samples

MEGAPIXELS = (1, 12)
PHOTOS = 3
SMALL_HEIC = heif_files.heic(samples.corners())
ENCODE: dict[str, Callable[[np.ndarray], bytes]] = {
    "jpeg": lambda rgb: samples.jpeg(rgb, quality=90),
    "png": samples.png,
    "webp": lambda rgb: samples.webp(rgb, quality=85),
    "avif": lambda rgb: _pillow(rgb, "AVIF", speed=9, quality=75, max_threads=1),
    "gif": lambda rgb: samples.saved(Image.fromarray(rgb).quantize(256), "GIF"),
    "bmp": lambda rgb: _pillow(rgb, "BMP"),
    "tiff": lambda rgb: _pillow(rgb, "TIFF", compression="tiff_lzw"),
}
"""How the inputs are made."""
if importlib.util.find_spec("pillow_heif"):
    ENCODE["heic"] = lambda rgb: _heic(rgb)


def _heic(rgb: np.ndarray) -> bytes:
    import pillow_heif

    out = io.BytesIO()
    size = rgb.shape[1], rgb.shape[0]
    pillow_heif.from_bytes(mode="RGB", size=size, data=rgb.tobytes()).save(out, quality=75)
    return out.getvalue()


def _pillow(rgb: np.ndarray, fmt: str, **options: object) -> bytes:
    return samples.saved(Image.fromarray(rgb), fmt, **options)


def measure(kind: str, name: str, jpeg: bytes) -> dict[str, float]:
    """Measure one image in this process, which is new."""
    disable_codec_threads()
    work: Callable[[], Any]
    if kind == "input":
        rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        data = ENCODE[name](rgb)
        limits = ProbeLimits()
        pixels = rgb.shape[0] * rgb.shape[1]
        del rgb

        def work() -> int:
            decode(data, probe(data, limits))
            return len(data)
    else:
        made = cutout(jpeg)
        pixels = made.shape[0] * made.shape[1]
        if name == "jpg":
            alpha = made[:, :, 3:].astype(np.uint16)
            made = ((made[:, :, :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)

        def work() -> int:
            return len(encode(ComposedImage(made), name).data)

    decode(SMALL_HEIC, probe(SMALL_HEIC, ProbeLimits()))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    Path("/proc/self/clear_refs").write_text("5")
    before, _ = resident()
    begun = time.process_time()
    size = work()
    spent = time.process_time() - begun
    _, peak = resident()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent += after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return {"bytes": size, "cpu_ms": spent * 1e3, "bytes_per_pixel": (peak - before) * 2**20 / pixels}


def main() -> int:
    machine = report.machine()
    context = multiprocessing.get_context("spawn")
    only = sys.argv[1:]
    stored = json.loads((report.RESULTS / "formats.json").read_text()) if only else {}
    results: dict[str, Any] = {kind: stored.get(kind, {}) for kind in ("input", "output")}
    names = [("input", each.name) for each in INPUT_FORMATS if each.name in ENCODE]
    names += [("output", each.extension) for each in OUTPUT_FORMATS]
    names = [each for each in names if not only or each[1] in only]
    for megapixels in MEGAPIXELS:
        photos = jpegs(megapixels)[:PHOTOS]
        for kind, name in names:
            rows = []
            for jpeg in photos:
                with context.Pool(1) as pool:
                    rows.append(pool.apply(measure, (kind, name, jpeg)))
            row = {key: round(statistics.median(each[key] for each in rows), 1) for key in rows[0]}
            results[kind].setdefault(name, {})[str(megapixels)] = row
            print(f"{kind:<7}{name:<6}{megapixels:>3} MP  {row}", flush=True)
    command = "python -m benchmarks.formats"
    report.write("formats", "bytes, CPU time and memory of every format", command, machine, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
