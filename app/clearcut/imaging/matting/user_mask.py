"""A matte from the caller instead of the network: resized to the image and finished like any other."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32, DecodedImage, Matte

from .confidence import certainty
from .grid import grid_step
from .guided_filter import upsample
from .refine import finish_matte

_PIXELS_PER_CELL = 0.45
"""Minimum mask pixels along the side of a cell for plain interpolation. Masks with fewer are upsampled along the edges
of the image. Interpolation has half the error of upsampling at 1.0, and a quarter more at 0.3."""


def user_matte(mask: DecodedImage, image: DecodedImage, *, despill: bool = True) -> Matte:
    """Return the matte of a mask: its transparency if it has any, else its brightness.

    The mask covers the whole image. A mask of the image's size is used unchanged. Longer sides are reduced by area
    means, shorter sides are enlarged by cubic interpolation. A mask with far fewer pixels than the grid has cells is
    upsampled like the network's output, without the edge model.

    Args:
        despill: remove the background's color from soft edges.
    """
    alpha = mask.alpha if mask.alpha is not None else np.asarray(cv2.cvtColor(mask.rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    height, width = min(alpha.shape[0], image.height), min(alpha.shape[1], image.width)
    if alpha.shape != (height, width):
        alpha = np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    values: F32 = alpha.astype(np.float32) * np.float32(1 / 255)
    if alpha.shape != (image.height, image.width):
        scale = min(height / image.height, width / image.width)
        if grid_step(image.height, image.width) * scale >= _PIXELS_PER_CELL:
            size = image.width, image.height
            alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        else:
            alpha = upsample(values, image.rgb)
    return finish_matte(alpha, image, certainty(values), despill=despill)
