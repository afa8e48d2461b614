"""Tools of the drawn families, and the hold-out rule.

Hold-out rule (fixed before the first training run): the outlines, fonts and figures in ``HELD_OUT`` never occur in
training samples, and a held-out sampler uses only them. Held-out seeds start at ``HELD_OUT_SEED``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from models.training import scenes
from models.training.augment import F32, U8, Rng

HELD_OUT_SEED = 9_000_000
HELD_OUT = {
    "outline": ("hexagon", "heart", "star"),
    "font": ("Caladea", "FredokaOne", "HankenGrotesk"),
    "figure": ("bust", "fish"),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A drawn object: colors f32[S,S,3] in 0..255 and coverage f32[S,S] in 0..1."""

    color: F32
    alpha: F32


@dataclass(frozen=True, slots=True)
class Pen:
    """Tools of a family: the canvas side, randomness, and sources of textures and cut-outs."""

    size: int
    rng: Rng
    held_out: bool
    photo: Callable[[], U8]
    """A view of a photo, u8[S,S,3]."""
    cutout: Callable[[], U8]
    """A placed cut-out, u8[S,S,4]."""

    def choose(self, kind: str, names: tuple[str, ...]) -> str:
        """One of the names on this side of the hold-out rule."""
        mine = [name for name in names if (name in HELD_OUT[kind]) == self.held_out]
        return str(self.rng.choice(mine))

    def stuff(self) -> F32:
        """A material: a texture, a gradient or a plain color, f32[S,S,3]."""
        return scenes.texture(self.size, self.rng, self.photo() if self.rng.random() < 0.5 else None)


def shaded(pen: Pen, alpha: F32, color: F32 | None = None) -> Layer:
    """An object of one material, often with light from one side or darker towards its rim."""
    color = pen.stuff() if color is None else color
    if pen.rng.random() < 0.4:
        depth = cv2.GaussianBlur(alpha, (0, 0), pen.size * pen.rng.uniform(0.01, 0.06))
        color = color * (1 - pen.rng.uniform(0.2, 0.7) * (1 - depth))[..., None]
    if pen.rng.random() < 0.4:
        ramp = np.linspace(1 + pen.rng.normal(0, 0.2), 1 + pen.rng.normal(0, 0.2), pen.size, dtype=np.float32)
        color = color * (ramp[:, None, None] if pen.rng.random() < 0.5 else ramp[None, :, None])
    return Layer(np.clip(color, 0, 255).astype(np.float32), alpha)


def near_center(pen: Pen, spread: float = 0.12) -> F32:
    return (pen.size * (0.5 + pen.rng.uniform(-spread, spread, 2))).astype(np.float32)


def metal(pen: Pen) -> F32:
    """Bands of light along one axis in a metal's color: f32[S,S,3]."""
    tint = np.array([(212, 175, 55), (200, 200, 205), (183, 110, 100), (90, 90, 95)][pen.rng.integers(4)], np.float32)
    axis = np.linspace(0, pen.rng.uniform(2, 9) * np.pi, pen.size, dtype=np.float32) + pen.rng.uniform(0, 6)
    band = 0.75 + 0.35 * np.sin(axis)
    field = band[:, None] if pen.rng.random() < 0.5 else band[None, :]
    return np.clip(np.broadcast_to(field[..., None], (pen.size, pen.size, 3)) * tint, 0, 255).astype(np.float32)
