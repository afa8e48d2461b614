"""Packs the unlabeled photos with their teacher labels, and better labels for the pool's pseudo-labeled photos.

    python -m models.training.data_more --data ../shared/data --labels ~/labels --votes ~/votes

A label is two parts ISNet and one part u2netp where their IoU is at least 0.7, else ISNet's alone with weight 0.3.
Photos without a subject stay empty unless a teacher sees one; then they only serve as backdrops. Held out for
validation: 4 % of the photos by stem, and 30 % of the photos without a subject by original photo, because several
files are crops of one photo.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from .data import HELD_OUT_ORIGINALS, PSEUDO, U8, PackWriter, iou, is_held_out

AGREEMENT, UNSURE_WEIGHT = 0.7, 0.3


def read_rgb(path: Path) -> U8:
    """A JPEG as u8[H,W,3]."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)


def read_gray(path: Path, like: U8) -> U8 | None:
    """A matte u8[H,W] at the size of ``like``; None where there is no file."""
    if not path.exists():
        return None
    matte = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(matte, like.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)


def merged(first: U8, vote: U8 | None) -> tuple[U8, float]:
    """The label and its weight in the loss, from ISNet's matte and u2netp's."""
    if vote is None:
        return first, 1.0
    if iou(first, vote) < AGREEMENT:
        return first, UNSURE_WEIGHT
    return (first.astype(np.float32) * 2 / 3 + vote.astype(np.float32) / 3 + 0.5).astype(np.uint8), 1.0


def share(matte: U8 | None) -> float:
    """Share of the image that a matte selects."""
    return 0.0 if matte is None else float((matte > 127).mean())


def main() -> None:
    """Pack everything that has a label."""
    parser = argparse.ArgumentParser(description="Pack photos with teacher labels.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and more/")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("models/training/runs/more"))
    args = parser.parse_args()
    train, more = args.data / "train", args.data / "more"
    writer, count = PackWriter(args.out), Counter[str]()
    for row in json.loads((more / "manifest.json").read_text()):
        path = more / row["file"]
        rgb = read_rgb(path)
        if path.parent.name == "images":
            label = read_gray(more / "labels" / f"{path.stem}.png", rgb)
            if label is None:
                label = read_gray(args.labels / f"{path.stem}.png", rgb)
            if label is None or not 0.005 < share(label) < 0.95:
                count["no usable label"] += 1
                continue
            matte, weight = merged(label, read_gray(args.votes / f"{path.stem}.png", rgb))
            count[f"weight {weight}"] += 1
            writer.add(rgb, matte, path.stem, row["group"], "pseudo", weight=weight)
            continue
        stem = f"negative__{path.stem}"
        seen = max(share(read_gray(folder / f"{stem}.png", rgb)) for folder in (args.labels, args.votes))
        kind = "background" if seen < 0.02 else "backdrop"
        count[kind] += 1
        held_out = is_held_out(f"{row['group']}/{row['original_path']}", HELD_OUT_ORIGINALS)
        writer.add(rgb, np.zeros(rgb.shape[:2], np.uint8), stem, row["group"], kind, held_out=held_out)
    for path in sorted((train / "backgrounds").glob("*.jpg")):
        rgb, stem = read_rgb(path), f"background__{path.stem}"
        mattes = [read_gray(folder / f"{stem}.png", rgb) for folder in (args.labels, args.votes)]
        judged = any(matte is not None for matte in mattes)  # a third of these photos do hold a subject
        kind = "background" if judged and max(map(share, mattes)) < 0.02 else "backdrop"
        count[f"pool: {kind}"] += 1
        writer.add(rgb, np.zeros(rgb.shape[:2], np.uint8), stem, "background", kind)
    for row in json.loads((train / "manifest.json").read_text()):
        path = train / "images" / f"{row['stem']}.jpg"
        if row["source"] not in PSEUDO or not (args.labels / f"{row['stem']}.png").exists():
            continue
        rgb = read_rgb(path)
        label = read_gray(args.labels / f"{row['stem']}.png", rgb)
        assert label is not None
        if not 0.005 < share(label) < 0.95:
            count["pool: no usable label"] += 1
            continue
        matte, weight = merged(label, read_gray(train / "mattes" / f"{row['stem']}.png", rgb))
        count[f"pool: weight {weight}"] += 1
        writer.add(rgb, matte, row["stem"], row["source"], "pseudo", weight=weight)
    writer.close()
    print(dict(count))


if __name__ == "__main__":
    main()
