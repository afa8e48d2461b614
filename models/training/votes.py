"""A second teacher's mattes (u2netp) for every unlabeled photo. They show where ISNet's label is uncertain.

    python -m models.training.votes --data ../shared/data --teacher ../shared/models/u2netp.onnx --out ~/votes

Writes one 8-bit PNG per photo. The command can be resumed.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from models.scoring.predictor import session, to_input

from .photo_files import folder_photos, photos


def main() -> None:
    """Label every photo that has no vote yet."""
    parser = argparse.ArgumentParser(description="Label photos with u2netp.")
    parser.add_argument("--data", type=Path, help="folder with train/ and more/")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="further folders with images/")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model = session(args.teacher)
    name, side = model.get_inputs()[0].name, int(model.get_inputs()[0].shape[-1])
    known = photos(args.data, labeled=True, pseudo=False) if args.data else ()
    for stem, path in chain(known, folder_photos(args.photos)):
        target = args.out / f"{stem}.png"
        if target.exists():
            continue
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
        square = model.run(None, {name: to_input(rgb, side)})[0][0, 0]
        matte = cv2.resize(square, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        part = target.with_suffix(".part.png")
        cv2.imwrite(str(part), np.clip(matte * 255 + 0.5, 0, 255).astype(np.uint8))
        part.rename(target)


if __name__ == "__main__":
    main()
