"""The pool, packed once: every image as RGBA bytes in one memory-mapped file.

    python -m models.training.data --data ../shared/data --out models/training/runs/pool

Decoding JPEG and PNG costs more than augmenting at these sizes, so it is done once. Images keep
their own size and shape (the squash to a square is part of the augmentation). ``pool.bin`` holds
the bytes, ``pool.json`` one record an image. A share of the pool, chosen by a hash of the stem, is
held out for validation and for choosing checkpoints.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

HELD_OUT_SHARE = 0.04
HELD_OUT_ORIGINALS = 0.3
"""Of the photos without a subject, by original photo: several of them are crops of one."""
PSEUDO = {"caltech101", "clothing", "trashnet", "grocery"}


@dataclass(frozen=True, slots=True)
class Record:
    """One packed image: ``height * width * 4`` bytes of RGBA at ``offset``."""

    stem: str
    source: str
    kind: str  # photo | pseudo | cutout | background | render
    offset: int
    height: int
    width: int
    box: tuple[int, int, int, int]  # left, top, right, bottom of alpha > 16; zeros when none
    held_out: bool
    weight: float = 1.0  # of the loss; below 1 where the teachers disagree


def is_held_out(stem: str, share: float = HELD_OUT_SHARE) -> bool:
    """Decide by the stem alone, so that the split survives a changed pool."""
    return int.from_bytes(hashlib.sha256(stem.encode()).digest()[:4], "big") < share * 2**32


def alpha_box(alpha: U8) -> tuple[int, int, int, int]:
    """u8[H,W] -> left, top, right, bottom (exclusive) of the visible part; zeros when empty."""
    ys = np.flatnonzero((alpha > 16).any(axis=1))
    xs = np.flatnonzero((alpha > 16).any(axis=0))
    if not len(ys):
        return 0, 0, 0, 0
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def iou(first: U8, second: U8) -> float:
    """IoU of two mattes at alpha 128."""
    a, b = first > 127, second > 127
    return float(((a & b).sum() + 1) / ((a | b).sum() + 1))


def unmix_white(rgb: U8, alpha: U8) -> U8:
    """Remove the white backdrop from a cut-out's soft edge: F = (C - (1 - a) 255) / a."""
    a = np.maximum(alpha[..., None].astype(np.float32) / 255, 0.08)
    foreground = (rgb.astype(np.float32) - (1 - a) * 255) / a
    return np.where(alpha[..., None] > 8, np.clip(foreground, 0, 255), 255).astype(np.uint8)


class PackWriter:
    """Appends images to ``<out>.bin``; the index, ``<out>.json``, is written at the end and when asked for.

    ``hold_out``: whether a share is kept from training. Not of what came later, so that curves stay comparable.
    """

    def __init__(self, out: Path, *, hold_out: bool = True):
        self._out, self._hold_out = out, hold_out
        out.parent.mkdir(parents=True, exist_ok=True)
        self._file = out.with_suffix(".bin").open("wb")
        self._records: list[Record] = []

    def add(
        self,
        rgb: U8,
        alpha: U8,
        stem: str,
        source: str,
        kind: str,
        *,
        weight: float = 1.0,
        held_out: bool | None = None,
    ) -> None:
        """rgb u8[H,W,3], alpha u8[H,W] (zeros for a background); ``held_out`` overrides the split by stem."""
        rgba = np.dstack([rgb, alpha])
        height, width = rgb.shape[:2]
        if held_out is None:
            held_out = self._hold_out and is_held_out(stem)
        box = alpha_box(alpha)
        self._records.append(Record(stem, source, kind, self._file.tell(), height, width, box, held_out, weight))
        self._file.write(rgba.tobytes())

    def close(self) -> None:
        """Write the index; the pack is complete only after this."""
        self.save_index()
        self._file.close()

    def save_index(self) -> None:
        """Write the index of what is packed so far."""
        self._file.flush()
        rows = [asdict(record) for record in self._records]
        part = self._out.with_suffix(".json.part")
        part.write_text(json.dumps(rows))
        os.replace(part, self._out.with_suffix(".json"))


class Pool:
    """One or several packs, read-only. ``pool[i]`` is u8[H,W,4]; ``records[i]`` describes it.

    A later pack replaces records of an earlier one by stem. Better labels are added in this way.
    """

    def __init__(self, *paths: Path):
        self.records: list[Record] = []
        self._maps: list[np.memmap] = []
        self._which: list[int] = []
        found: dict[str, tuple[Record, int]] = {}
        for number, path in enumerate(paths):
            for row in json.loads(path.with_suffix(".json").read_text()):
                found[row["stem"]] = Record(**{**row, "box": tuple(row["box"])}), number
            self._maps.append(np.memmap(path.with_suffix(".bin"), np.uint8, "r"))
        for record, number in found.values():
            self.records.append(record)
            self._which.append(number)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> U8:
        r = self.records[index]
        size = r.height * r.width * 4
        flat = self._maps[self._which[index]][r.offset : r.offset + size]
        return np.asarray(flat).reshape(r.height, r.width, 4)

    def select(self, *, held_out: bool, **values: str) -> list[int]:
        """Indices of one side of the split whose fields equal ``values``."""
        return [
            i
            for i, r in enumerate(self.records)
            if r.held_out == held_out and all(getattr(r, k) == v for k, v in values.items())
        ]


def read_pairs(train: Path) -> Iterator[tuple[str, str, str, U8, U8]]:
    """Yield (stem, source, kind, rgb, alpha) for the pool's pairs and backgrounds."""
    for row in json.loads((train / "manifest.json").read_text()):
        stem, source = row["stem"], row["source"]
        rgb = cv2.cvtColor(cv2.imread(str(train / "images" / f"{stem}.jpg")), cv2.COLOR_BGR2RGB)
        alpha = cv2.imread(str(train / "mattes" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE)
        if alpha.shape != rgb.shape[:2]:
            alpha = cv2.resize(alpha, rgb.shape[1::-1], interpolation=cv2.INTER_AREA)
        kind = "cutout" if source.startswith("white_") else "photo"
        if source in PSEUDO:
            kind = "pseudo"
        if kind == "cutout":
            rgb = unmix_white(rgb.astype(np.uint8), alpha.astype(np.uint8))
        yield stem, source, kind, rgb.astype(np.uint8), alpha.astype(np.uint8)
    for path in sorted((train / "backgrounds").glob("*.jpg")):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
        yield f"background__{path.stem}", "background", "background", rgb, np.zeros(rgb.shape[:2], np.uint8)


def main() -> None:
    """Pack the pool."""
    parser = argparse.ArgumentParser(description="Pack the training pool.")
    parser.add_argument("--data", type=Path, required=True, help="directory holding train/")
    parser.add_argument("--out", type=Path, default=Path("models/training/runs/pool"))
    args = parser.parse_args()
    writer = PackWriter(args.out)
    for stem, source, kind, rgb, alpha in read_pairs(args.data / "train"):
        writer.add(rgb, alpha, stem, source, kind)
    writer.close()
    pool = Pool(args.out)
    held = sum(r.held_out for r in pool.records)
    print(f"{len(pool)} images packed, {held} of them held out")


if __name__ == "__main__":
    main()
