"""CPU time that ``plain_background`` adds to the matte of an image with a plain background.

    python -m benchmarks.plain_cost --data DIR

Products of the tuning half on six backgrounds are enlarged to 1 and 12 megapixels. The process's CPU time of
``plain_matte`` is compared with that of ``upsample``, in turn in one process, with one thread of OpenCV. "field" is the
time for an image without a plain background, which needs only the fit to the border. Writes
results/plain_cost.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import report
from benchmarks.plain_scenes import SEEDS, cutouts, products
from benchmarks.raw_mattes import raw_matte
from clearcut.imaging.decode import decode
from clearcut.imaging.matting.guided_filter import upsample
from clearcut.imaging.matting.plain.background_field import border_field
from clearcut.imaging.matting.plain.matte import plain_matte
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from clearcut.inference.edge_model import load_edge_model
from clearcut.inference.model_files import load_model
from clearcut.inference.runtime import CpuSession

SIZES = {1: 11, 12: 5}
"""Megapixels, and the measurements of each image at that size; the median counts."""
COMMAND = "python -m benchmarks.plain_cost --data ../shared/data"


def cpu_ms(function: Callable[..., object], *arguments: Any) -> float:
    start = time.process_time()
    function(*arguments)
    return 1e3 * (time.process_time() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder holding train/")
    parser.add_argument("--images", type=int, default=24, help="product images")
    args = parser.parse_args()
    shots = cutouts(args.data, "tuning")
    if not shots:
        raise SystemExit(f"no cut-outs in {args.data}: it must hold train/manifest.json; name its folder with --data")
    cv2.setNumThreads(1)
    machine = report.machine()
    model, edges = load_model("clearcut-m"), load_edge_model()
    session = CpuSession(model.data)
    times: dict[int, list[list[float]]] = {size: [] for size in SIZES}
    for scene in list(products(shots, 6 * len(shots), SEEDS["tuning"]))[:: max(1, 6 * len(shots) // args.images)]:
        image = decode(scene.data, probe(scene.data, ProbeLimits()))
        values = raw_matte(session.run, model.entry, image).values
        if plain_matte(values, image.rgb, edges) is None:
            continue
        for size, repeats in SIZES.items():
            scale = (size * 1e6 / (image.width * image.height)) ** 0.5
            large = cv2.resize(image.rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            rgb = np.ascontiguousarray(large, np.uint8)
            rounds = [
                [
                    cpu_ms(upsample, values, rgb, edges),
                    cpu_ms(plain_matte, values, rgb, edges),
                    cpu_ms(border_field, rgb),
                ]
                for _ in range(repeats)
            ]
            times[size].append(np.median(rounds, axis=0).tolist())
    found = {}
    for size, rows in times.items():
        off, auto, field = np.mean(rows, axis=0)
        figures = {"off_ms": off, "auto_ms": auto, "added_ms": auto - off, "field_ms": field}
        found[f"{size}_megapixels"] = {"images": len(rows)} | {
            name: round(float(ms), 2) for name, ms in figures.items()
        }
    print(found)
    report.write("plain_cost", "CPU time added by plain_background", COMMAND, machine, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
