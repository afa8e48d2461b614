"""Packs further folders of photos with a subject, and of interiors and places that serve as backgrounds.

    python -m models.training.data_extra --photos DIR --backgrounds DIR --labels ~/labels --votes ~/votes

Each folder contains ``images/GROUP__NAME.jpg``. Labels are merged as in ``data_more``; a photo without a usable label
is left out. Some percent of the photos with a subject, by a hash of the name, go into a pack of their own
(``OUT-held``), which no run trains on: held-out scores of other runs stay comparable. A background in which
u2netp detects nothing is also a photo without a subject, and so are all photos in ``--empty``. A tenth of the
backgrounds, by a hash of the original photo, is held out.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path

import numpy as np

from .data import PackWriter, is_held_out
from .data_more import merged, read_gray, read_rgb, share

HELD_OUT = 0.06
HELD_OUT_BACKGROUNDS = 0.1


def is_kept_from_training(stem: str) -> bool:
    """Decide by the name without its number, because several photos can show one object; also by the pool's rule."""
    return is_held_out(stem) or is_held_out(re.sub(r"[-_]?\d+$", "", stem), HELD_OUT)


def original_of(stem: str) -> str:
    """Return the stem without the suffix of a side of a cube (``_negx``) or of a crop (``_c1``)."""
    return re.sub(r"_((neg|pos)[xyz]|c\d+)$", "", stem)


def main() -> None:
    """Pack everything that has a label, and all backgrounds."""
    parser = argparse.ArgumentParser(description="Pack further photos with teacher labels, and backgrounds.")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of photos with a subject")
    parser.add_argument("--backgrounds", type=Path, nargs="*", default=[], help="folders of backgrounds")
    parser.add_argument("--empty", type=Path, nargs="*", default=[], help="folders of photos without a subject")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("models/training/runs/extra"))
    args = parser.parse_args()
    count = Counter[str]()
    writer = PackWriter(args.out, hold_out=False)
    held = PackWriter(args.out.with_name(f"{args.out.name}-held"))
    for path in sorted(path for folder in args.photos for path in (folder / "images").glob("*.jpg")):
        group = path.stem.split("__")[0]
        rgb = read_rgb(path)
        label = read_gray(args.labels / f"{path.stem}.png", rgb)
        if label is None or not 0.005 < share(label) < 0.95:
            count["no label" if label is None else "no subject, or the whole image"] += 1
            continue
        matte, weight = merged(label, read_gray(args.votes / f"{path.stem}.png", rgb))
        if is_kept_from_training(path.stem):
            if weight == 1:
                held.add(rgb, matte, path.stem, group, "pseudo", held_out=True)
                count["held out"] += 1
            continue
        count[f"weight {weight}"] += 1
        writer.add(rgb, matte, path.stem, group, "pseudo", weight=weight)
    for path in sorted(path for folder in args.backgrounds + args.empty for path in (folder / "images").glob("*.jpg")):
        rgb = read_rgb(path)
        vote = read_gray(args.votes / f"{path.stem}.png", rgb)
        kind = "backdrop"
        if path.parents[1] in args.empty or (vote is not None and share(vote) < 0.01):
            kind = "background"
        count[f"backgrounds: {kind}"] += 1
        held_out = is_held_out(original_of(path.stem), HELD_OUT_BACKGROUNDS)
        count["backgrounds held out"] += held_out
        empty = np.zeros(rgb.shape[:2], np.uint8)
        writer.add(rgb, empty, path.stem, path.stem.split("_")[0], kind, held_out=held_out)
    writer.close()
    held.close()
    print(dict(count))


if __name__ == "__main__":
    main()
