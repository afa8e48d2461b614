"""Scores any ONNX matting network on the public benchmark, by group and as the mean of groups.

    python -m models.training.evaluate --data ../shared/data --model models/clearcut-s.onnx
    python -m models.training.evaluate --data ../shared/data --model u2netp.onnx --stretch

Pictures are scored at a longest side of 640. ``--stretch`` applies U2-Net's own min-max stretch.
For measuring only: checkpoints are chosen on the held-out part of the pool, never here.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics import Scores, score

from .teacher import session, spec_of, to_input

U8 = NDArray[np.uint8]
LONGEST = 640


def bench_pictures(bench: Path) -> Iterator[tuple[str, str, U8, NDArray[np.float32]]]:
    """Yield (stem, group, rgb u8[H,W,3], matte f32[H,W]) with a longest side of at most 640."""
    for row in json.loads((bench / "manifest.json").read_text()):
        rgb = cv2.cvtColor(cv2.imread(str(bench / "images" / f"{row['stem']}.jpg")), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(bench / "masks" / f"{row['stem']}.png"), cv2.IMREAD_GRAYSCALE)
        height, width = rgb.shape[:2]
        shrink = min(1.0, LONGEST / max(height, width))
        size = (round(width * shrink), round(height * shrink))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        yield row["stem"], row["source"], rgb.astype(np.uint8), mask.astype(np.float32) / 255


class Predictor:
    """An ONNX matting network as a function of one picture."""

    def __init__(self, model: Path, *, stretch: bool = False, threads: int = 1):
        """The manifest says how the input is normalised (``spec_of``); its side is read from the file."""
        self._spec = spec_of(model)
        self._session = session(model, threads)
        self._node = self._session.get_inputs()[0]
        self._stretch = stretch

    def __call__(self, rgb: U8) -> NDArray[np.float32]:
        """u8[H,W,3] -> matte f32[H,W] in 0..1."""
        image = to_input(rgb, int(self._node.shape[-1]), self._spec)
        matte = np.asarray(self._session.run(None, {self._node.name: image})[0])[0, 0]
        if self._stretch:
            matte = (matte - matte.min()) / max(float(matte.max() - matte.min()), 1e-6)
        full = cv2.resize(matte, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.clip(full, 0, 1).astype(np.float32)


def by_group(rows: dict[str, list[Scores]]) -> dict[str, tuple[float, ...]]:
    """Means of (MAE, IoU, S, boundary F) by group, and the mean of groups under ``mean``."""
    table = {
        group: tuple(np.mean([astuple(s) for s in found], axis=0).tolist()) for group, found in sorted(rows.items())
    }
    table["mean"] = tuple(np.mean(list(table.values()), axis=0).tolist())
    return table


def evaluate(predictor: Predictor, bench: Path) -> dict[str, tuple[float, ...]]:
    """The table of one network on one benchmark directory."""
    rows: dict[str, list[Scores]] = defaultdict(list)
    for _, group, rgb, matte in bench_pictures(bench):
        rows[group].append(score(predictor(rgb), matte))
    return by_group(rows)


def main() -> None:
    """Print the table as Markdown, or write it as JSON."""
    parser = argparse.ArgumentParser(description="Score an ONNX matting network.")
    parser.add_argument("--data", type=Path, required=True, help="directory holding bench/")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--stretch", action="store_true", help="min-max stretch, as U2-Net does")
    parser.add_argument("--json", type=Path, help="also write the table here")
    args = parser.parse_args()
    table = evaluate(Predictor(args.model, stretch=args.stretch, threads=2), args.data / "bench")
    print("| group | MAE | IoU | S | BF |\n|---|---|---|---|---|")
    for group, values in table.items():
        print(f"| {group} | {values[0]:.4f} | " + " | ".join(f"{v:.3f}" for v in values[1:]) + " |")
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
