"""Photographed cut-outs of Tux Paint: animals, food, tools, instruments, plants, vehicles, with their alpha.

    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default_*.deb FOLDER
    python -m models.training.stamps --stamps FOLDER --out models/training/runs/stamps

Only photographs: folders of cartoons, symbols and drawings are left out. GPL 2 as a whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from . import charts
from .data import PackWriter

KINDS = ("animals", "food", "hobbies", "household", "medical", "plants", "sports", "vehicles", "military", "town")
DRAWN = {"cartoon", "symbols", "flags", "roadsigns", "houses", "ammunition", "plastic"}
LEAST, MOST = 110, 352


def main() -> None:
    """Pack them, longest side between 110 and 352 pixels."""
    parser = argparse.ArgumentParser(description="Pack Tux Paint's photographed stamps.")
    parser.add_argument("--stamps", type=Path, required=True, help="folder under which stamps/ lies")
    parser.add_argument("--out", type=Path, default=Path("models/training/runs/stamps"))
    args = parser.parse_args()
    writer, shown = PackWriter(args.out, hold_out=False), []
    root = next(path for path in args.stamps.rglob("stamps") if (path / "animals").is_dir())
    for path in sorted(root.rglob("*.png")):
        folders = path.relative_to(root).parts[:-1]
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if folders[0] not in KINDS or DRAWN & set(folders) or picture is None or picture.shape[2:] != (4,):
            continue
        longest = max(picture.shape[:2])
        if longest < LEAST or (picture[..., 3] > 127).mean() < 0.02:
            continue
        if longest > MOST:
            premultiplied = picture.astype(np.float32)
            premultiplied[..., :3] *= premultiplied[..., 3:] / 255
            small = cv2.resize(premultiplied, None, fx=MOST / longest, fy=MOST / longest, interpolation=cv2.INTER_AREA)
            small[..., :3] /= np.maximum(small[..., 3:] / 255, 0.02)
            picture = np.clip(small, 0, 255).astype(np.uint8)
        rgb, alpha = np.ascontiguousarray(picture[..., 2::-1]), np.ascontiguousarray(picture[..., 3])
        writer.add(rgb, alpha, f"stamp_{'_'.join(folders)}_{path.stem}", "tuxpaint", "cutout")
        shown.append(np.where(alpha[..., None] > 127, rgb, 160).astype(np.uint8))
    writer.close()
    charts.sheet(args.out.with_suffix(".png"), [shown[i : i + 20] for i in range(0, len(shown), 20)], 80)
    print(f"{len(shown)} stamps packed")


if __name__ == "__main__":
    main()
