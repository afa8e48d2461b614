"""The caller's own matte instead of the network's: read, brought to the picture's size, and finished like any other."""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.band import grid_step
from app.imaging.guided import upsample
from app.imaging.refine import confidence, finish
from app.imaging.types import F32, U8, DecodedImage, Matte


def own_matte(mask: DecodedImage, image: DecodedImage, *, colour: bool = True) -> Matte:
    """The matte that ``mask`` shows: its transparency if it has any, else its brightness.

    A mask of the picture's own size is taken to the letter. A larger one is brought down by area means, a smaller one
    up by cubic interpolation or, if it has no more pixels than the grid has cells, along the picture's edges: of the
    benchmark's masks, made smaller, those with half a pixel to a cell have seven tenths of cubic interpolation's error
    so, those with two pixels twice as much. It is stretched over the whole picture, as the network's answer is.
    """
    level = mask.alpha if mask.alpha is not None else np.asarray(cv2.cvtColor(mask.rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    size = image.width, image.height
    values: F32 = level.astype(np.float32) * np.float32(1 / 255)
    alpha: U8
    if level.shape == (image.height, image.width):
        alpha = level
    elif level.shape[0] >= image.height and level.shape[1] >= image.width:
        alpha = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_AREA), np.uint8)
    elif grid_step(*image.rgb.shape[:2]) * min(level.shape[0] / image.height, level.shape[1] / image.width) > 1:
        alpha = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    else:
        alpha = upsample(values, image.rgb)
    return finish(alpha, image, confidence(values), colour=colour)
