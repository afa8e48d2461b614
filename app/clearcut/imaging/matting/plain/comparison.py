"""Comparison of the cells of an image with the color of its plain background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.matting.edge_band import Mask
from clearcut.imaging.types import F32, U8

from .background_field import ColorField, refit, upper_median
from .color_masks import largest_channel

_WINDOW3 = np.ones((3, 3), np.uint8)
_MIN_BACKGROUND = 0.04
"""Minimum share of the cells that have about the color of the background."""
_NOISE_STEPS = 4.5
"""Distance from the background, in deviations of a cell, from which a cell differs."""
_LEAST_LEVEL = 3.0
"""Minimum of this distance in levels."""
_EVERY = 2
"""Distance in cells of the samples to which the field is fitted."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Cells of a grid and the background's color in them."""

    field: ColorField
    """Fitted to the cells of the background."""
    cells: U8
    """The image, u8[h,w,3]."""
    background: F32
    """The background's color, f32[h,w,3] in levels."""
    difference: F32
    """Color minus the background's color, f32[h,w,3] in levels."""
    distance: F32
    """Largest channel of the absolute difference, f32[h,w] in levels."""
    noise: float
    """Typical distance of a cell of the background."""
    level: float
    """Distance from which a cell differs from the background, in levels."""

    @property
    def equals_background(self) -> Mask:
        return np.asarray(self.distance < self.level)


def compare(cells: U8, field: ColorField, step: int) -> Comparison | None:
    """Compare ``cells`` (u8[h,w,3]) with the background's color; None if hardly any cell has it.

    Args:
        step: side of a cell in pixels.
    """
    height, width = cells.shape[:2]
    start = max(6.0, 4 * max(0.35, field.noise / min(step, 3)))
    first = cv2.subtract(every_cell(cells, _EVERY), field.at(height, width, _EVERY), dtype=cv2.CV_32F)
    near_background = largest_channel(first) < start
    if near_background.mean() < _MIN_BACKGROUND:
        return None
    field = refit(field, cells, cv2.erode(near_background.view(np.uint8), _WINDOW3) > 0, _EVERY)
    background = field.at(height, width)
    difference = np.asarray(cv2.subtract(cells, background, dtype=cv2.CV_32F), np.float32)
    distance = largest_channel(difference)
    samples = every_cell(distance, _EVERY)[near_background]
    noise = max(0.3, float(upper_median(samples[:: max(1, samples.size // 2000)])))
    return Comparison(field, cells, background, difference, distance, noise, max(_LEAST_LEVEL, _NOISE_STEPS * noise))


def every_cell(plane: np.ndarray, step: int) -> np.ndarray:
    """Return every n-th cell of every n-th row, [h/n,w/n] or [h/n,w/n,c]; a slice with steps takes longer to read."""
    rows, columns = plane.shape[0] // step, plane.shape[1] // step
    whole = plane[: rows * step, : columns * step]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_NEAREST))
