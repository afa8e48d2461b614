"""Share of images without a subject that a network cuts out anyway.

    python -m models.training.subject_free --model models/clearcut-m.onnx --pack models/training/runs/pool

Uses 200 images without a subject: held-out background photographs of the packs, and walls, floors, skies, tiles and
gradients drawn from a seed that no training run uses. Prints the share of images with more than 2 % of the frame
above 0.5.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.scoring.predictor import Predictor
from models.scoring.segmentation import cut_share

from . import augment, scenes
from .data import Pool

U8 = NDArray[np.uint8]
SEED = 20_480_111
COUNT, SIZE, LIMIT = 200, 400, 0.02


def images(packs: Sequence[Path]) -> Iterator[U8]:
    """Yield 200 images u8[H,W,3], photographs first."""
    made = 0
    if packs:
        pool = Pool(*packs)
        for index in pool.select(held_out=True, kind="background"):
            made += 1
            yield np.ascontiguousarray(pool[index][..., :3])
    for number in range(COUNT - made):
        rng = np.random.default_rng((SEED, number))
        image = augment.relight(scenes.empty_scene(SIZE, rng), rng)
        height = int(SIZE * rng.uniform(0.6, 1))
        yield cv2.resize(image, (SIZE, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def false_alarms(predictor: Predictor, packs: Sequence[Path]) -> float:
    """Return the share of images with more than 2 % of the frame above 0.5."""
    return float(np.mean([cut_share(predictor(image)) > LIMIT for image in images(packs)]))


def main() -> None:
    """Print the share."""
    parser = argparse.ArgumentParser(description="Count subjects seen in subject-free images.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pack", type=Path, action="append", default=[])
    parser.add_argument("--stretch", action="store_true", help="min-max stretch, as U2-Net does")
    args = parser.parse_args()
    share = false_alarms(Predictor(args.model, stretch=args.stretch), args.pack)
    print(f"{share:.1%} of {COUNT} subject-free images have more than {LIMIT:.0%} of the frame cut out")


if __name__ == "__main__":
    main()
