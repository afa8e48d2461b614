"""Cost of each imaging step, single-threaded, on a photograph of 1 and of 8.5 megapixels.

    python -m benchmarks.imaging_steps

Milliseconds, best of nine. The photograph is scikit-image's public-domain astronaut, enlarged. The matte is a soft
disc.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import PIL

from clearcut.imaging.compose import compose
from clearcut.imaging.decode import decode
from clearcut.imaging.encode import encode
from clearcut.imaging.options import RemoveOptions
from clearcut.imaging.prepare import prepare
from clearcut.imaging.probe import probe
from clearcut.imaging.types import Box, DecodedImage, InputSpec, Matte, ProbeLimits
from tests.support import samples

RESULT = Path(__file__).parent / "results" / "imaging_steps.json"
SIZES = {"1 MP": (866, 1155), "8.5 MP": (2521, 3361)}
OPTIONS = {
    "rgba png": RemoveOptions(),
    "rgba png, crop": RemoveOptions(crop=True),
    "rgba png, 1024 px": RemoveOptions(max_side=1024),
    "rgba png, 256 px": RemoveOptions(max_side=256),
    "alpha png": RemoveOptions(channels="alpha"),
    "rgb png": RemoveOptions(channels="rgb"),
    "jpg on white": RemoveOptions(format="jpg"),
    "rgba webp": RemoveOptions(format="webp"),
}


def best(call: Callable[[], object], times: int = 9) -> float:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return round(min(took) * 1e3, 2)


def measure(width: int, height: int) -> dict[str, float]:
    rgb = samples.photo("astronaut", width, height)
    alpha = samples.disc(height, width, soft=max(width, height) / 150)
    matte = Matte(alpha, rgb, Box(width // 7, height // 7, width * 5 // 7, height * 5 // 7), 1.0, 0.0)
    limits = ProbeLimits()
    files = {
        "jpeg": samples.jpeg(rgb, quality=90),
        "jpeg, progressive": samples.jpeg(rgb, quality=90, progressive=True),
        "jpeg, turned": samples.jpeg(rgb, quality=90, orientation=6),
        "jpeg, Display P3": samples.jpeg(rgb, quality=90, icc_profile=samples.icc_rgb()),
        "jpeg, CMYK": samples.jpeg_cmyk(np.dstack([255 - rgb, np.zeros_like(alpha)])),
        "png": samples.png(rgb),
        "png, alpha": samples.png(np.dstack([rgb, alpha])),
        "webp": samples.webp(rgb),
    }
    rows: dict[str, float] = {}
    for name, data in files.items():
        header = probe(data, limits)
        rows[f"probe {name}"] = best(lambda data=data: probe(data, limits))  # type: ignore[misc]
        rows[f"decode {name}"] = best(lambda data=data, header=header: decode(data, header))  # type: ignore[misc]
    spec = InputSpec(320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    rows["prepare"] = best(lambda: prepare(DecodedImage(rgb), spec))
    rows["prepare, transparent input"] = best(lambda: prepare(DecodedImage(rgb, alpha), spec))
    for name, options in OPTIONS.items():
        cutout = compose(DecodedImage(rgb), matte, options)
        rows[f"compose {name}"] = best(lambda options=options: compose(DecodedImage(rgb), matte, options))  # type: ignore[misc]
        times = 2 if options.format == "webp" else 9
        rows[f"encode {name}"] = best(lambda cutout=cutout, options=options: encode(cutout, options.format), times)  # type: ignore[misc]
    return rows


def main() -> None:
    cv2.setNumThreads(1)
    steps = {name: measure(*size) for name, size in SIZES.items()}
    for step in steps["1 MP"]:
        print(f"{step:32s}" + "".join(f"{steps[size][step]:10.2f}" for size in SIZES))
    result = {
        "question": "milliseconds of each imaging step, single thread, best of nine",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, shared; load {os.getloadavg()[0]:.1f}",
        "versions": {
            "python": platform.python_version(),
            "opencv": cv2.__version__,
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
        "ms": steps,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
