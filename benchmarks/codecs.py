"""Cost of the service's encoders beside Pillow's and OpenCV's defaults, in CPU time and bytes, on real cut-outs.

A cut-out is a photo with a soft matte over the middle and zero color under alpha 0. CPU time is the thread's, so that
other processes do not count.

Run: ``python -m benchmarks.codecs``; writes results/codecs.json.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from benchmarks import report
from benchmarks.photos import jpegs
from clearcut.imaging.encode import encode
from clearcut.imaging.types import ComposedImage


def cutout(jpeg: bytes) -> np.ndarray:
    """Return u8[H,W,4]: an ellipse with a soft edge, about 44 % of the frame."""
    rgb = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    height, width = rgb.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (int(width * 0.37), int(height * 0.38)), 0, 0, 360, 255, -1)
    alpha = cv2.GaussianBlur(mask, (0, 0), max(height, width) / 400)
    return np.dstack([rgb * (alpha > 0)[..., None], alpha])


def pillow(fmt: str, **options: object) -> Callable[[np.ndarray], int]:
    def run(pixels: np.ndarray) -> int:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, fmt, **options)
        return out.getbuffer().nbytes

    return run


ENCODERS: dict[str, Callable[[np.ndarray], int]] = {
    "png, ours": lambda pixels: len(encode(ComposedImage(pixels), "png").data),
    "png, Pillow's default": pillow("PNG"),
    "png, Pillow level 1": pillow("PNG", compress_level=1),
    "png, OpenCV's default": lambda pixels: len(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))[1]),
    "webp, ours": lambda pixels: len(encode(ComposedImage(pixels), "webp").data),
    "webp, Pillow's default": pillow("WEBP"),
    "zip, ours": lambda pixels: len(encode(ComposedImage(pixels), "zip").data),
}


def main() -> int:
    machine = report.machine()
    sizes = {}
    for megapixels in (1, 10):
        cutouts = [cutout(jpeg) for jpeg in jpegs(megapixels)]
        rows = {}
        for name, run in ENCODERS.items():
            times, lengths = [], []
            for pixels in cutouts:
                begun = time.thread_time()
                lengths.append(run(pixels))
                times.append(time.thread_time() - begun)
            rows[name] = {"cpu_ms": round(1000 * statistics.median(times), 1), "mb": round(sum(lengths) / 4e6, 3)}
        for row in rows.values():
            row["bytes_over_pillow_png"] = round(row["mb"] / rows["png, Pillow's default"]["mb"], 3)
        sizes[f"{megapixels} MP"] = rows
        for name, row in rows.items():
            print(f"{megapixels:>3} MP  {name:<24}{row}")
    report.write("codecs", "cost and size of encoders on RGBA cut-outs", "python -m benchmarks.codecs", machine, sizes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
