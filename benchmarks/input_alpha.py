"""How often transparent images count as cut-outs, and how far a second pass moves the matte: for docs/quality.md.

    python -m benchmarks.input_alpha

Cut-outs of photos are made with the default model, by the Python API, in several sizes and formats, and sent again.
Screenshots and collages are rendered. The result is in ``benchmarks/results/input_alpha.json``.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from clearcut import Remover
from clearcut.imaging.matting.input_alpha import is_cutout
from tests.support import samples
from tests.support import transparent_images as images

RESULT = Path(__file__).parent / "results" / "input_alpha.json"
SIZES = ((320, 320), (800, 600), (1200, 1600))


def alpha_of(data: bytes) -> np.ndarray:
    return np.array(Image.open(BytesIO(data)).convert("RGBA"))[:, :, 3]


def cutouts(remover: Remover) -> dict[str, object]:
    counted = recognized = 0
    moved = []
    for name in samples.PHOTOS:
        for width, height in SIZES:
            for options in ({}, {"format": "webp"}, {"shadow": "true"}, {"crop": "true", "padding": "10%"}):
                first = remover.remove(samples.png(samples.photo(name, width, height)), **options)
                alpha = alpha_of(first)
                if not alpha.any():
                    continue
                counted += 1
                recognized += is_cutout(alpha)
                second = alpha_of(remover.remove(first))
                moved.append(float(np.abs(second.astype(int) - alpha).mean()))
    return {"images": counted, "recognized": recognized, "largest mean change of alpha": round(max(moved), 3)}


def rendered() -> dict[str, dict[str, int]]:
    windows = [
        images.screenshot(width, height, radius, margin)
        for width, height in ((640, 400), (1440, 900), (390, 844))
        for radius in (4, 8, 12, 24, 48)
        for margin in (0, 20, 60)
    ]
    shadows = [images.screenshot(900, 600, 12, 80, blur) for blur in (4, 8, 16, 24)]
    texts = ("A", "SALE", "Two words", "SUMMER SALE 50 %", "a b c d e f g h")
    collages = [
        images.collage(width, height, text, hard)
        for width, height in ((320, 200), (640, 400), (1600, 1000))
        for text in texts
        for hard in (False, True)
    ]
    groups = {"screenshots": windows, "windows with a shadow": shadows, "collages with text": collages}
    return {
        name: {
            "images": len(group),
            "recognized": sum(is_cutout(np.ascontiguousarray(each[:, :, 3])) for each in group),
        }
        for name, group in groups.items()
    }


def main() -> None:
    with Remover() as remover:
        result = {"cut-outs processed twice": cutouts(remover), **rendered()}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
