"""Packs made small for the way to another machine, and unpacked there.

    python -m models.training.parcel pack --packs models/training/runs/pool --out parcels --most 50
    python -m models.training.parcel unpack --parcels parcels --out models/training/runs --workers 16

A machine with a GPU may be lent for minutes, and take so many megabytes at a time. Colours travel as WebP (a twentieth
of the pack, and about the loss of the JPEGs that they come from), alpha to the letter. A parcel holds records of one
pack up to a size; which ones, and where, is in the file of the same name ending in .json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .data import Pool, Record

U8 = NDArray[np.uint8]
QUALITY, EXACT = 76, 101
"""Of WebP; beyond 100 it is lossless."""
CHUNK = 100
"""Pictures that a process unpacks at a time."""


def encoded(picture: U8, quality: int) -> bytes:
    return cv2.imencode(".webp", np.ascontiguousarray(picture), [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def pack(path: Path, out: Path, most: float) -> list[Path]:
    """The parcels of one pack, of about ``most`` megabytes at most: NAME-0.bin and so on, each with its index."""
    out.mkdir(parents=True, exist_ok=True)
    pool, made = Pool(path), []
    rows: list[tuple[Record, int, int]] = []
    data = bytearray()

    def close() -> None:
        parcel = out / f"{path.name}-{len(made)}.bin"
        parcel.write_bytes(data)
        index = {"of": len(pool), "pictures": [[asdict(record), *sizes] for record, *sizes in rows]}
        parcel.with_suffix(".json").write_text(json.dumps(index))
        made.append(parcel)
        rows.clear()
        data.clear()

    for number, record in enumerate(pool.records):
        rgba = pool[number]
        colour = encoded(rgba[..., 2::-1], QUALITY)
        alpha = encoded(rgba[..., 3], EXACT) if rgba[..., 3].any() else b""
        if rows and len(data) + len(colour) + len(alpha) > most * 1e6:
            close()
        rows.append((record, len(colour), len(alpha)))
        data += colour + alpha
    close()
    return made


def decoded(colour: bytes, alpha: bytes, record: Record) -> bytes:
    """RGBA as the pack holds it.

    Raises:
        ValueError: the picture is damaged, or has not the record's size.
    """
    shape = record.height, record.width
    try:
        bgr = cv2.imdecode(np.frombuffer(colour, np.uint8), cv2.IMREAD_COLOR)
        plane = np.zeros(shape, np.uint8)
        if alpha:
            plane = cv2.imdecode(np.frombuffer(alpha, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:  # nothing at all to decode
        bgr = plane = None
    if bgr is None or plane is None or bgr.shape[:2] != shape or plane.shape != shape:
        raise ValueError(f"{record.stem} is damaged")
    return np.dstack([cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), plane]).tobytes()


def chunks(parcel: Path) -> Iterator[tuple[Path, int, list[tuple[Record, int, int]]]]:
    """Where some of a parcel's records begin, and which they are."""
    rows = json.loads(parcel.with_suffix(".json").read_text())["pictures"]
    read = [(Record(**{**row, "box": tuple(row["box"])}), *sizes) for row, *sizes in rows]
    start = 0
    for first in range(0, len(read), CHUNK):
        part = read[first : first + CHUNK]
        yield parcel, start, part
        start += sum(colour + alpha for _, colour, alpha in part)


def opened(chunk: tuple[Path, int, list[tuple[Record, int, int]]]) -> bytes:
    cv2.setNumThreads(1)
    parcel, start, rows = chunk
    with parcel.open("rb") as file:
        file.seek(start)
        return b"".join(decoded(file.read(colour), file.read(alpha), record) for record, colour, alpha in rows)


def unpack(parcels: Path, out: Path, workers: int) -> dict[str, int]:
    """All packs whose parcels lie in a folder; how many pictures each has.

    Raises:
        ValueError: a parcel is missing, or damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = sorted(
        parcels.glob("*-*.bin"), key=lambda path: (path.stem.rpartition("-")[0], int(path.stem.split("-")[-1]))
    )
    counts: dict[str, int] = {}
    # Not forked: a process that has threads, as torch's, may leave its children waiting for ever.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for name in dict.fromkeys(parcel.stem.rpartition("-")[0] for parcel in found):
            parts = [parcel for parcel in found if parcel.stem.rpartition("-")[0] == name]
            work = [chunk for parcel in parts for chunk in chunks(parcel)]
            records = [record for _, _, rows in work for record, _, _ in rows]
            (total,) = {json.loads(parcel.with_suffix(".json").read_text())["of"] for parcel in parts}
            with (out / f"{name}.bin").open("wb") as file:
                for (_, _, rows), data in zip(work, pool.map(opened, work), strict=True):
                    if file.tell() != rows[0][0].offset:
                        raise ValueError(f"{name}: what belongs at {file.tell()} is missing")
                    file.write(data)
            if len(records) != total:
                raise ValueError(f"{name}: {total - len(records)} of {total} pictures are missing")
            (out / f"{name}.json").write_text(json.dumps([asdict(record) for record in records]))
            counts[name] = len(records)
    return counts


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("--packs", type=Path, nargs="+", required=True)
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--most", type=float, default=50.0, help="megabytes of a parcel")
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("--parcels", type=Path, required=True)
    unpacking.add_argument("--out", type=Path, default=Path("models/training/runs"))
    unpacking.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.command == "pack":
        for path in args.packs:
            for parcel in pack(path, args.out, args.most):
                print(f"{parcel}: {parcel.stat().st_size / 1e6:.1f} MB")
    else:
        print(unpack(args.parcels, args.out, args.workers))


if __name__ == "__main__":
    main()
