"""Lists of the photos that the teachers label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

PSEUDO = ("grocery", "trashnet", "caltech101", "clothing")


def folder_photos(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """(stem, path) of every ``images/*.jpg`` of further folders."""
    for folder in folders:
        for path in sorted((folder / "images").glob("*.jpg")):
            yield path.stem, path


def photos(data: Path, *, labeled: bool = False, pseudo: bool = True) -> Iterator[tuple[str, Path]]:
    """(stem, path) of every photo to label: new subjects, pseudo-labeled photos, then photos without a subject.

    ``labeled`` includes new subjects that ``more/labels`` already covers; ``pseudo=False`` leaves out the pool's
    photos whose label comes from u2netp.
    """
    more, train = data / "more", data / "train"
    for path in sorted((more / "images").glob("*.jpg")):
        if labeled or not (more / "labels" / f"{path.stem}.png").exists():
            yield path.stem, path
    rows = json.loads((train / "manifest.json").read_text())
    for source in PSEUDO if pseudo else ():
        for row in rows:
            if row["source"] == source:
                yield row["stem"], train / "images" / f"{row['stem']}.jpg"
    for path in sorted((more / "negatives").glob("*.jpg")):
        yield f"negative__{path.stem}", path
    for path in sorted((train / "backgrounds").glob("*.jpg")):
        yield f"background__{path.stem}", path
    for row in rows:
        if row["source"] in ("cats_ardamavi81", "coco_small"):
            yield row["stem"], train / "images" / f"{row['stem']}.jpg"
