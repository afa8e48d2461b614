"""Renders of generated products with exact mattes for ``benchmarks.plain``.

    python -m benchmarks.plain_renders --out FOLDER [--count 12]

The shapes, materials and lights are those of ``models.training.synth``, with new seeds. The default model was not
trained on renders of this generator. There is no floor and no wall: ``plain_scenes`` adds the background and the
shadow. Glass is replaced, because it shows its surroundings. Writes RGBA files, ``tuning-000-KIND.png`` and so on,
about twenty seconds each. Needs ``models/training/requirements-synth.in``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import mitsuba as mi
import numpy as np
from numpy.typing import NDArray

from models.training import synth
from models.training.synth_shapes import random_object

SEEDS = {"tuning": 71_001, "report": 71_002}
SIDE, SAMPLES = 512, 24
"""Side of a render in pixels, and its paths per pixel."""
_MIN_AREA, _MAX_AREA = 0.06, 0.8
"""Share of the frame that a usable subject covers."""


def render(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]] | None:
    """Return the kind of an object and its cut-out u8[h,w,4], or None if it leaves the frame or is too small."""
    kind, parts = random_object(rng)
    shapes = {}
    for number, part in enumerate(synth.settle(parts, rng)):
        stuff = "any" if part.stuff == "glass" else str(part.stuff)
        shapes[f"part{number}"] = synth.mesh(part.solid, synth.stuff(stuff, rng), f"part{number}")
    view = rng.integers(2**32)
    lights = {name: each for name, each in synth.surroundings(rng).items() if name.startswith(("sky", "light"))}
    small = _alpha(shapes, view, 128, 4)
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    if border.max() > 0.02 or not _MIN_AREA < float((small > 0.5).mean()) < _MAX_AREA:
        return None
    alpha = _alpha(shapes, view, SIDE, 49)
    eye = synth.camera(np.random.default_rng(view), SIDE, SIDE, SAMPLES)
    path = {"type": "path", "max_depth": 5, "hide_emitters": True}
    shot = np.array(mi.render(mi.load_dict({"type": "scene", "integrator": path, "eye": eye, **lights, **shapes})))
    shot = np.nan_to_num(shot, posinf=10)
    light = shot[..., :3] / np.maximum(shot[..., 3:], 1e-3)
    light *= rng.uniform(0.7, 1.05) / max(float(np.percentile(light[alpha > 0.9], 96)), 1e-3)
    rgb = (np.clip(light, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    inside = (alpha > 0.3).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colors = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colors[nearest[inside > 0]] = rgb[inside > 0]
    rgb = cv2.fastNlMeansDenoisingColored(colors[nearest], None, 3, 6, 5, 11).astype(np.uint8)  # path noise
    rgba = np.dstack([rgb, np.clip(alpha * 255 + 0.5, 0, 255).astype(np.uint8)])
    rows, columns = (np.flatnonzero(rgba[..., 3].max(axis=axis) > 0) for axis in (1, 0))
    return kind, np.ascontiguousarray(rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _alpha(shapes: dict[str, mi.Object], view: int, side: int, samples: int) -> NDArray[np.float32]:
    """Return the exact coverage of ``shapes``, f32[side,side] in 0..1."""
    eye = synth.camera(np.random.default_rng(view), side, side, samples)
    eye = {**eye, "sampler": {"type": "stratified", "sample_count": samples}}
    scene = {"type": "scene", "integrator": {"type": "depth"}, "eye": eye, **shapes}
    return np.clip(np.array(mi.render(mi.load_dict(scene)))[..., 3], 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the cut-outs")
    parser.add_argument("--count", type=int, default=12, help="cut-outs of each half")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for half, seed in SEEDS.items():
        found, number = 0, 0
        while found < args.count:
            try:
                made = render(np.random.default_rng((seed, number)))
            except (RuntimeError, ValueError) as error:  # an impossible solid
                print(f"{half} {number}: {error}", flush=True)
                made = None
            number += 1
            if made is not None:
                path = args.out / f"{half}-{found:03d}-{made[0]}.png"
                cv2.imwrite(str(path), cv2.cvtColor(made[1], cv2.COLOR_RGBA2BGRA))
                found += 1
                print(f"{half} {found}/{args.count}: {made[0]}", flush=True)


if __name__ == "__main__":
    main()
