"""Images that a rule for plain backgrounds can damage: subjects of the background's color, shadows, reflections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from models.training import scenes
from models.training.data import is_held_out

from .plain_scenes import (
    BACKGROUNDS,
    F32,
    U8,
    Cutout,
    Rng,
    Scene,
    as_matte,
    backdrop,
    encode,
    over,
    placed,
    soft_shadow,
)


def _pale(color: F32, alpha: F32, rng: Rng) -> tuple[F32, F32]:
    """A white product on white: the levels of the cut-out compressed to the brightest ones."""
    gray = color.mean(axis=2, keepdims=True) + 0.2 * (color - color.mean(axis=2, keepdims=True))
    depth = rng.uniform(25, 70)
    return 255 - depth * (1 - gray / 255), np.full(color.shape, rng.uniform(250, 255), np.float32)


def _dark(color: F32, alpha: F32, rng: Rng) -> tuple[F32, F32]:
    """A black product on black."""
    level = rng.uniform(0, 14)
    return level + color * rng.uniform(0.08, 0.22), np.full(color.shape, level, np.float32)


def _same_inside(color: F32, alpha: F32, rng: Rng) -> tuple[F32, F32]:
    """A product with stripes, dots or labels that have the background's color, with its own shading."""
    scene = backdrop(str(rng.choice(list(BACKGROUNDS))), rng, *alpha.shape)
    height, width = alpha.shape
    rows, columns = np.flatnonzero(alpha.max(axis=1) > 0.5), np.flatnonzero(alpha.max(axis=0) > 0.5)
    mark = np.zeros(alpha.shape, np.float32)
    inside = cv2.erode(alpha, np.ones((9, 9), np.uint8))
    for _ in range(int(rng.integers(1, 4))):
        center = int(rng.choice(columns)), int(rng.choice(rows))
        axes = (max(3, int(rng.uniform(0.03, 0.12) * width)), max(3, int(rng.uniform(0.02, 0.1) * height)))
        if rng.random() < 0.5:
            cv2.ellipse(mark, center, axes, rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA)
        else:
            low, high = np.subtract(center, axes), np.add(center, axes)
            cv2.rectangle(mark, [int(v) for v in low], [int(v) for v in high], 1.0, -1)
    mark = np.minimum(mark, inside)[..., None]
    shading = cv2.GaussianBlur(color.mean(axis=2), (0, 0), max(height, width) / 40)[..., None]
    shading = 0.93 + 0.07 * shading / max(1.0, float(shading.max()))
    weave = 1 + 0.012 * rng.standard_normal(alpha.shape, dtype=np.float32)[..., None]
    print_color = scene * shading * weave
    return color * (1 - mark) + print_color * mark, scene


def _strong_shadow(color: F32, alpha: F32, rng: Rng) -> tuple[F32, F32]:
    """A dark shadow, sometimes with a hard edge."""
    scene = backdrop(str(rng.choice(["white", "light gray", "beige", "blue"])), rng, *alpha.shape)
    if rng.random() < 0.5:
        return color, soft_shadow(scene, alpha, rng, low=0.45, high=0.7)
    height, width = alpha.shape
    matrix = np.float32([[1, rng.uniform(-0.35, 0.35), 0], [0, 0.75, height * 0.25]])
    matrix[0, 2] = -matrix[0, 1] * height
    cast = cv2.GaussianBlur(cv2.warpAffine(alpha, matrix, (width, height)), (0, 0), rng.uniform(1.5, 6))
    return color, scene * (1 - rng.uniform(0.25, 0.5) * cast[..., None])


def _reflection(color: F32, alpha: F32, rng: Rng) -> tuple[F32, F32]:
    """A glossy floor that mirrors the foot of the product."""
    scene = backdrop(str(rng.choice(["white", "light gray", "gray", "dark"])), rng, *alpha.shape)
    rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
    foot, height = int(rows[-1]) + 1, alpha.shape[0]
    depth = min(height - foot, foot)
    if depth > 4:
        fade = np.linspace(rng.uniform(0.12, 0.4), 0, depth, dtype=np.float32)[:, None]
        cover = (alpha[foot - depth : foot][::-1] * fade)[..., None]
        scene[foot : foot + depth] = scene[foot : foot + depth] * (1 - cover) + color[foot - depth : foot][::-1] * cover
    return color, scene


def _textured(color: F32, alpha: F32, rng: Rng) -> tuple[F32, F32]:
    """A wall of cloth, plaster or a pattern."""
    height, width = alpha.shape
    side = max(height, width)
    wall = (scenes.cloud if rng.random() < 0.6 else scenes.pattern)(side, rng)
    return color, np.asarray(wall[:height, :width], np.float32)


FAMILIES: dict[str, Callable[[F32, F32, Rng], tuple[F32, F32]]] = {
    "white on white": _pale,
    "black on black": _dark,
    "background's color inside": _same_inside,
    "strong shadow": _strong_shadow,
    "reflection": _reflection,
    "textured wall": _textured,
}
"""Family -> function of a placed cut-out that returns its colors and the scene behind it."""


def counter_scenes(family: str, shots: Sequence[Cutout], count: int, seed: int) -> Iterator[Scene]:
    """Yield ``count`` images of a family."""
    grounded = [shot for shot in shots if family != "reflection" or not shot.grounded]
    for number in range(count):
        rng = np.random.default_rng(seed + 100_000 * (1 + list(FAMILIES).index(family)) + number)
        shot = grounded[number % len(grounded)]
        color, alpha = placed(shot, rng)
        color, scene = FAMILIES[family](color, alpha, rng)
        data = encode(over(np.clip(color, 0, 255), alpha, scene), rng)
        yield Scene(f"{family}-{number}-{shot.stem}", family, data, as_matte(alpha))


def real_photos(data: Path, count: int, half: int) -> list[tuple[str, bytes, U8]]:
    """Return up to ``count`` real photos as (name, file, label u8[H,W]).

    Photos of the training pool that are held out have drawn labels or measured ones; those of ``more/`` have labels by
    another network. Cut-outs from white are left out: their photos are products on plain backgrounds.
    """
    files = []
    train, more = data / "train", data / "more"
    if (train / "manifest.json").is_file():
        rows = json.loads((train / "manifest.json").read_text())
        stems = [row["stem"] for row in rows if not row["source"].startswith("white_") and is_held_out(row["stem"])]
        files += [(train / "images" / f"{stem}.jpg", train / "mattes" / f"{stem}.png") for stem in stems]
    if (more / "manifest.json").is_file():
        paths = sorted((more / "images").glob("*.jpg"))[::4]
        files += [(path, more / "labels" / f"{path.stem}.png") for path in paths]
    shots = []
    for path, label in sorted(files)[half::2][:count]:
        matte = cv2.imread(str(label), cv2.IMREAD_GRAYSCALE)
        if matte is not None:
            shots.append((path.stem, path.read_bytes(), np.asarray(matte, np.uint8)))
    return shots
