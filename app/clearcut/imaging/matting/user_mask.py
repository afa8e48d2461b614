"""The caller's own matte instead of the network's: read, brought to the picture's size, and finished like any other."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32, DecodedImage, Matte

from .grid import grid_step
from .guided_filter import upsample
from .refine import confidence, finish_matte

_FINE = 0.45
"""Pixels of a mask along the side of a cell, at least, for it to be interpolated: with one, of the benchmark's masks
made smaller, that leaves half of the error that the way along the picture's edges has, with .3 a quarter more.
"""


def user_matte(mask: DecodedImage, image: DecodedImage, *, colour: bool = True) -> Matte:
    """The matte that ``mask`` shows: its transparency if it has any, else its brightness.

    It is stretched over the whole picture, as the network's answer is. One of the picture's size is taken to the
    letter, sides that are longer are brought down by area means, and shorter ones up by cubic interpolation. If one of
    them has much fewer pixels than the grid has cells, both are brought up along the picture's edges and without haze,
    as the network's answer is without the edge model.
    """
    level = mask.alpha if mask.alpha is not None else np.asarray(cv2.cvtColor(mask.rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    height, width = min(level.shape[0], image.height), min(level.shape[1], image.width)
    if level.shape != (height, width):
        level = np.asarray(cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    values: F32 = level.astype(np.float32) * np.float32(1 / 255)
    alpha = level
    if level.shape != (image.height, image.width):
        if grid_step(image.height, image.width) * min(height / image.height, width / image.width) >= _FINE:
            size = image.width, image.height
            alpha = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        else:
            alpha = upsample(values, image.rgb)
    return finish_matte(alpha, image, confidence(values), colour=colour)
