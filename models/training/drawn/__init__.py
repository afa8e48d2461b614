"""Drawn samples with exact mattes: the shapes that photo collections lack.

Families: rings and frames (holes), straps and chains (thin parts), boxes and covers (up to the border), signatures
and word marks, flat art and sprites, groups of objects, glass; and counter-examples: white on white, prints that
belong to an object, reflections that do not. ``pen`` has the hold-out rule.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from models.training import scenes
from models.training.augment import F32, U8, Rng

from .flat import box, flat_art, sprite, wordmark
from .mixed import glass, printed, several
from .pen import HELD_OUT, HELD_OUT_SEED, Layer, Pen
from .thin import chain, frame, ring, signature, strap

__all__ = ["FAMILIES", "HELD_OUT", "HELD_OUT_SEED", "Pen", "sample"]

FAMILIES: dict[str, tuple[Callable[[Pen], list[Layer]], float]] = {
    "ring": (ring, 1.5),
    "frame": (frame, 0.9),
    "strap": (strap, 1.3),
    "chain": (chain, 0.6),
    "box": (box, 1.6),
    "signature": (signature, 0.8),
    "wordmark": (wordmark, 1.2),
    "flat_art": (flat_art, 1.2),
    "sprite": (sprite, 0.5),
    "several": (several, 1.2),
    "glass": (glass, 0.3),
    "printed": (printed, 0.8),
}
"""Family -> (drawing function, weight)."""


def _background(pen: Pen, family: str) -> F32:
    """Return a white, gray, colored, graded or textured background, f32[S,S,3]."""
    draw = pen.rng.random()
    plain_only = family in ("signature", "wordmark", "glass")
    if draw < 0.35:
        base = np.full((pen.size, pen.size, 3), pen.rng.uniform(240, 255), np.float32)
    elif draw < 0.8 or plain_only:
        base = scenes.plain(pen.size, pen.rng)
    elif draw < 0.92:
        base = scenes.texture(pen.size, pen.rng, pen.photo())
    else:
        base = scenes.empty_scene(pen.size, pen.rng, pen.photo()).astype(np.float32)
    return base.astype(np.float32)


def _cast(pen: Pen, alpha: F32, scene: F32) -> F32:
    """Add a soft shadow, or a reflection on the floor below the object. Neither belongs to the subject."""
    size, rng = pen.size, pen.rng
    if rng.random() < 0.75:
        matrix = np.array([[1, 0, rng.normal(0, 0.03) * size], [0, 1, abs(rng.normal(0, 0.03)) * size]])
        cast = cv2.GaussianBlur(cv2.warpAffine(alpha, matrix, (size, size)), (0, 0), size * rng.uniform(0.008, 0.05))
        return scene * (1 - rng.uniform(0.08, 0.45) * cast[..., None])
    return scene


def _reflection(layer: F32, alpha: F32, scene: F32, rng: Rng) -> F32:
    rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
    if not len(rows) or rows[-1] > alpha.shape[0] * 0.9:
        return scene
    foot, height = int(rows[-1]) + 1, alpha.shape[0]
    depth = min(height - foot, foot)
    fade = np.linspace(rng.uniform(0.1, 0.35), 0, depth, dtype=np.float32)[:, None]
    mirrored, cover = layer[foot - depth : foot][::-1], alpha[foot - depth : foot][::-1] * fade
    part = scene[foot : foot + depth]
    scene[foot : foot + depth] = part * (1 - cover[..., None]) + mirrored * cover[..., None]
    return scene


def sample(pen: Pen, family: str | None = None) -> tuple[U8, U8, str]:
    """One sample: rgb u8[S,S,3], matte u8[S,S] and the family's name."""
    if family is None:
        names, weights = list(FAMILIES), np.array([weight for _, weight in FAMILIES.values()])
        family = names[int(pen.rng.choice(len(names), p=weights / weights.sum()))]
    layers = FAMILIES[family][0](pen)
    scene = _background(pen, family)
    if pen.rng.random() < 0.06:  # white on white: the object has nearly the background's color
        scene = np.full_like(scene, 246)
        layers = [Layer(235 + layer.color * (20 / 255), layer.alpha) for layer in layers]
    alpha = np.zeros((pen.size, pen.size), np.float32)
    flat = np.zeros_like(scene)
    for layer in layers:
        flat = flat * (1 - layer.alpha[..., None]) + layer.color * layer.alpha[..., None]
        alpha = alpha + layer.alpha * (1 - alpha)
    if family not in ("signature", "wordmark", "sprite", "flat_art") and pen.rng.random() < 0.55:
        scene = _cast(pen, alpha, scene)
    elif family not in ("signature", "wordmark", "sprite") and pen.rng.random() < 0.15:
        scene = _reflection(flat / np.maximum(alpha, 0.05)[..., None], alpha, scene.copy(), pen.rng)
    for layer in layers:
        scene = scene * (1 - layer.alpha[..., None]) + layer.color * layer.alpha[..., None]
    rgb = np.clip(scene, 0, 255).astype(np.uint8)
    if pen.rng.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(pen.rng.integers(60, 97))]
        rgb = cv2.imdecode(cv2.imencode(".jpg", rgb, quality)[1], cv2.IMREAD_COLOR).astype(np.uint8)
    return rgb, np.clip(alpha * 255 + 0.5, 0, 255).astype(np.uint8), family
