"""Training data of the edge model: mattes of real networks, the guided filter's results, and the exact alpha.

    python -m models.training.edge.data --networks models/clearcut-s.int8.onnx models/clearcut-s.onnx u2netp.onnx \
        models/clearcut-m.onnx

Samples have ``--step`` times the resolution of the cells and are sharp: pasted objects are never enlarged. A network
gets them at its input size, as in service. The guided filter's result is stored at the cells and at full size. Samples
with an IoU under 0.3 are left out, because an edge model cannot correct them. Real photos are separate parts: with few
photos, a model removed uncertain parts of people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from clearcut.imaging.matting import guided_filter
from clearcut.imaging.matting.edge_band import undecided
from clearcut.imaging.matting.grid import sample_at_cells, to_cells
from clearcut.imaging.prepare import prepare
from clearcut.imaging.types import F32, U8, DecodedImage
from models.scoring.predictor import session, spec_of
from models.training.data import Pool
from models.training.sampling import Mixture, Sampler

SHARES = (0.4, 0.15, 0.3, 0.15)
"""Shares of the networks, in the order of ``--networks``."""
MIXTURE = Mixture(
    photo=0.15,
    pseudo=0.0,
    composite=0.85,
    negative=0.0,
    source_weight={
        "sweethome3d": 0.35,
        "pets600": 2.0,
        "ccp1004": 2.0,
        "feralcats": 0.05,
        "cats_ardamavi81": 0.02,
        "coco_small": 0.2,
        "white_magento": 3.0,
        "white_grocery": 3.0,
        **dict.fromkeys(("clothing", "trashnet", "grocery", "caltech101"), 0.0),
    },
)
"""Weights favor labels that are exact at the edge. Traced polygons and pseudo-labels are not."""
REACH = (0.35, 0.95)
"""Size of a pasted object relative to the image's side."""


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one kind, stored as ``NAME-0.npz`` and so on."""

    name: str
    draws: int
    seed: int
    photo: float = MIXTURE.photo
    """Share of unchanged photos; the others are composites."""
    held_out: bool = False


PARTS = (
    Part("mixed", 3800, 77),
    Part("photos", 1800, 78, photo=1.0),
    Part("held_mixed", 200, 1234, held_out=True),
    Part("held_photos", 100, 1235, photo=1.0, held_out=True),
)


def network(path: Path) -> Callable[[U8], F32]:
    model = session(path)
    name, spec = model.get_inputs()[0].name, spec_of(path)
    return lambda rgb: np.asarray(
        model.run(None, {name: prepare(DecodedImage(rgb), spec).tensor[None]})[0][0, 0], np.float32
    )


def fitted(rgb: U8, raw: F32, step: int) -> dict[str, np.ndarray]:
    """Return the guided filter's matte without an edge model, before clipping, at the cells and at full size.

    ``rgb`` u8[S,S,3], cells of ``step`` pixels of it; ``raw`` f32[S/step,S/step] in 0..1.
    """
    guide = to_cells(rgb, step)
    small = guided_filter.clamp_haze(raw)
    edge = undecided(small > 0, small >= 1, guided_filter.REACH) > 0
    slope, offset, _ = guided_filter.fit_coefficients(guide, small)
    slope = np.where(edge[..., None], slope, 0).astype(np.float32)
    offset = np.where(edge, offset, 255 * (small >= 1)).astype(np.float32)
    full = [cv2.resize(plane, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR) for plane in (slope, offset)]
    cells, pixels = (slope * guide).sum(2) + offset, (full[0] * rgb).sum(2) + full[1]
    return {
        "guide": guide,
        "edge": edge,
        "cells": np.clip(cells / 255, -1, 2).astype(np.float16),
        "pixels": np.clip(pixels / 255, -1, 2).astype(np.float16),
    }


def samples(packs: list[Path], paths: list[Path], part: Part, indices: range, out: Path, cells: int, step: int) -> int:
    """Draw these indices of a part, write them to ``out`` and return the number of samples."""
    side = cells * step
    cv2.setNumThreads(1)
    mixture = replace(MIXTURE, photo=part.photo, composite=1 - part.photo)
    sampler = Sampler(Pool(*packs), mixture, held_out=part.held_out, seed=part.seed, reach=REACH)
    networks = [network(path) for path in paths]
    rows: dict[str, list[np.ndarray]] = {}
    for index in indices:
        rgb, alpha = sampler(index, side)
        if not 0.01 < (alpha > 127).mean() < 0.9:
            continue
        shares = np.array(SHARES[: len(paths)]) / sum(SHARES[: len(paths)])
        drawn = int(np.random.default_rng(index).choice(len(paths), p=shares))
        for which in range(len(paths)) if part.held_out else [drawn]:
            raw = sample_at_cells(np.clip(networks[which](rgb), 0, 1), step, side, side)
            exact = cv2.resize(alpha, (cells, cells), interpolation=cv2.INTER_AREA) / 255
            if np.minimum(raw, exact).sum() < 0.3 * np.maximum(raw, exact).sum():
                continue
            row = {"alpha": alpha, "raw": raw.astype(np.float16), "network": np.array(which), **fitted(rgb, raw, step)}
            for key, value in row.items():
                rows.setdefault(key, []).append(value)
    if rows:
        np.savez(out, **{key: np.stack(values) for key, values in rows.items()})
    return len(rows.get("alpha", ()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=Path, nargs="+", required=True, help="ONNX files of matting networks")
    runs = Path("models/training/runs")
    names = ("pool", "catalogue")
    parser.add_argument("--packs", type=Path, nargs="+", default=[runs / name for name in names])
    parser.add_argument("--cells", type=int, default=320, help="cells along the side of a sample")
    parser.add_argument("--step", type=int, default=2, help="pixels along the side of a cell")
    parser.add_argument("--share", type=float, default=1.0, help="share of the samples of each part")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=runs / "edges")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    work = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for part in PARTS:
            for worker in range(arguments.workers):
                indices = range(worker, round(part.draws * arguments.share), arguments.workers)
                out = arguments.out / f"{part.name}-{worker}.npz"
                grid = arguments.cells, arguments.step
                work.append(pool.submit(samples, arguments.packs, arguments.networks, part, indices, out, *grid))
        print(json.dumps([each.result() for each in work]))
    (arguments.out / "complete").touch()


if __name__ == "__main__":
    main()
