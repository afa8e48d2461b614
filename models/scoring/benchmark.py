"""Scores of an ONNX matting network on the public benchmark, by group and as the mean of groups.

    python -m models.scoring.benchmark --data ../shared/data --model models/clearcut-m.onnx
    python -m models.scoring.benchmark --data ../shared/data --model u2netp.onnx --stretch

Images are scored at a longest side of 640 px. Training chooses checkpoints on held-out data, never on this benchmark.
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

from models.scoring.predictor import Predictor
from models.scoring.segmentation import Scores, score

U8 = NDArray[np.uint8]
LONGEST = 640


def benchmark_images(bench: Path) -> Iterator[tuple[str, str, U8, NDArray[np.float32]]]:
    """Yield (stem, group, rgb u8[H,W,3], matte f32[H,W] in 0..1) with a longest side of at most 640 px."""
    for row in json.loads((bench / "manifest.json").read_text()):
        rgb = cv2.cvtColor(cv2.imread(str(bench / "images" / f"{row['stem']}.jpg")), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(bench / "masks" / f"{row['stem']}.png"), cv2.IMREAD_GRAYSCALE)
        height, width = rgb.shape[:2]
        shrink = min(1.0, LONGEST / max(height, width))
        size = (round(width * shrink), round(height * shrink))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        yield row["stem"], row["source"], rgb.astype(np.uint8), mask.astype(np.float32) / 255


def by_group(rows: dict[str, list[Scores]]) -> dict[str, tuple[float, ...]]:
    """Return the means of (MAE, IoU, S-measure, boundary F) by group, and the mean of groups as ``mean``."""
    table = {
        group: tuple(np.mean([astuple(s) for s in scores], axis=0).tolist()) for group, scores in sorted(rows.items())
    }
    table["mean"] = tuple(np.mean(list(table.values()), axis=0).tolist())
    return table


def evaluate(predictor: Predictor, bench: Path) -> dict[str, tuple[float, ...]]:
    """Return the scores by group of one network on the benchmark folder ``bench``."""
    rows: dict[str, list[Scores]] = defaultdict(list)
    for _, group, rgb, matte in benchmark_images(bench):
        rows[group].append(score(predictor(rgb), matte))
    return by_group(rows)


def main() -> None:
    """Print the table as Markdown, or write it as JSON."""
    parser = argparse.ArgumentParser(description="Score an ONNX matting network.")
    parser.add_argument("--data", type=Path, required=True, help="folder that contains bench/")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--stretch", action="store_true", help="apply U2-Net's min-max stretch")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    table = evaluate(Predictor(args.model, stretch=args.stretch, threads=2), args.data / "bench")
    print("| group | MAE | IoU | S | BF |\n|---|---|---|---|---|")
    for group, values in table.items():
        print(f"| {group} | {values[0]:.4f} | " + " | ".join(f"{v:.3f}" for v in values[1:]) + " |")
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
