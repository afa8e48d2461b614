"""Families around cut-outs and materials: groups of objects, glass, printed objects."""

from __future__ import annotations

import cv2
import numpy as np

from models.training import scenes

from .lettering import with_print
from .outlines import OUTLINES, fill, make_outline, placed, stroke
from .pen import Layer, Pen, near_center, shaded


def several(pen: Pen) -> list[Layer]:
    """Two to five separate objects: drawn ones and cut-outs side by side."""
    count = int(pen.rng.integers(2, 6))
    layers = []
    for number in range(count):
        share = 1 / count
        center = np.array([(number + 0.5) * share, pen.rng.uniform(0.35, 0.65)], np.float32) * pen.size
        if pen.rng.random() < 0.5:
            rgba = pen.cutout()
            scale = 1.3 * share
            matrix = np.array(
                [[scale, 0, center[0] - scale * pen.size / 2], [0, scale, center[1] - scale * pen.size / 2]]
            )
            small = cv2.warpAffine(rgba, matrix, (pen.size, pen.size), flags=cv2.INTER_AREA)
            layers.append(Layer(small[..., :3].astype(np.float32), small[..., 3].astype(np.float32) / 255))
        else:
            points = placed(
                make_outline(pen.choose("outline", OUTLINES), pen.rng),
                center,
                pen.size * share * pen.rng.uniform(0.25, 0.5),
                pen.rng,
            )
            layers.append(shaded(pen, fill(pen.size, points.astype(np.float32))))
    return layers


def glass(pen: Pen) -> list[Layer]:
    """A transparent object: a clear wall, a firm rim and highlights."""
    outline = placed(
        make_outline(pen.choose("outline", OUTLINES), pen.rng),
        near_center(pen),
        pen.size * pen.rng.uniform(0.2, 0.4),
        pen.rng,
    )
    body = fill(pen.size, outline.astype(np.float32))
    tint = np.broadcast_to(scenes.random_color(pen.rng), (pen.size, pen.size, 3)).astype(np.float32)
    wall = Layer(tint, body * np.float32(pen.rng.uniform(0.35, 0.7)))
    rim = Layer(
        tint * 0.6, stroke(pen.size, outline.astype(np.float32), pen.size * pen.rng.uniform(0.006, 0.03), closed=True)
    )
    light = stroke(
        pen.size, ((outline[10:40] - outline.mean(0)) * 0.8 + outline.mean(0)).astype(np.float32), pen.size * 0.015
    )
    return [wall, rim, Layer(np.full_like(tint, 255), light * 0.8)]


def printed(pen: Pen) -> list[Layer]:
    """A cut-out with a print on it that belongs to it."""
    rgba = pen.cutout()
    color = with_print(pen, rgba[..., :3].astype(np.float32))
    return [Layer(np.clip(color, 0, 255).astype(np.float32), rgba[..., 3].astype(np.float32) / 255)]
