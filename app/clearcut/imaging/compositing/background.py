"""What stands behind the subject when it is more than a colour: the old background blurred, or another picture."""

from __future__ import annotations

import math

import cv2
import numpy as np

from clearcut.imaging.types import U8, Matte

from .inpaint import enlarge, smooth_fill

_SIGMA_SHARE = 15 / 1024
"""Blur radius (standard deviation) as a share of the longest side."""
_SMALL_SIGMA = 4.0
"""Pixels; a blur this wide on a reduced picture looks the same and costs a fraction."""
TINT = (120, 255, 155)
_STRIP_BYTES = 1 << 17
"""Bytes of RGB that ``overlay`` changes at a time."""


def blur_background(rgb: U8, matte: Matte) -> U8:
    """The picture's background, u8[H,W,3], out of focus and without a trace of the subject in it.

    Blurring the picture itself would smear the subject into a halo around itself. The subject and its soft rim are
    taken out first and the hole is filled from around it.
    """
    height, width = matte.alpha.shape
    sigma = max(2.0, _SIGMA_SHARE * max(height, width))
    side = max(16, round(max(height, width) * min(1.0, _SMALL_SIGMA / sigma)))
    rim = round(max(height, width) / 200)
    small = smooth_fill(rgb, _clear_of(matte.alpha, rim), side)
    reduced = sigma * max(small.shape) / max(height, width)
    soft = cv2.GaussianBlur(small, (0, 0), reduced, borderType=cv2.BORDER_REPLICATE)
    return enlarge(np.asarray(soft, np.float32), width, height)


def _clear_of(alpha: U8, rim: int) -> U8:
    """255 where no pixel of alpha 3 or more is within ``rim`` pixels, else 0; u8[H,W].

    By distance, because the cost of a dilation grows with the area of the rim.
    """
    distance = cv2.distanceTransform(cv2.inRange(alpha, 0, 2), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(cv2.inRange(distance, rim + 0.25, math.inf), np.uint8)


def scale_to_cover(picture: U8, width: int, height: int) -> U8:
    """``picture`` u8[H,W,3] centred on ``width`` x ``height`` and just large enough to leave nothing uncovered."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    wide = min(picture.shape[1], max(1, round(width / scale)))
    high = min(picture.shape[0], max(1, round(height / scale)))
    left, top = (picture.shape[1] - wide) // 2, (picture.shape[0] - high) // 2
    part = picture[top : top + high, left : left + wide]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), np.uint8)


def overlay(rgb: U8, alpha: U8) -> U8:
    """Return ``rgb`` with the subject tinted and outlined, u8[H,W,3], for the inspection of a matte.

    The subject is where alpha is 128 or more. Memory besides the output: four bytes a pixel for any matte.
    """
    subject = np.asarray(cv2.inRange(alpha, 128, 255), np.uint8)
    outline = _outline(subject, max(1, max(alpha.shape) // 400))
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tinting = cv2.addWeighted(levels, 0.5, np.full_like(levels, TINT), 0.5, 0)
    out = rgb.copy()
    rows = max(1, _STRIP_BYTES // (3 * rgb.shape[1]))
    line = np.empty((rows, rgb.shape[1], 3), np.uint8)
    line[:] = TINT
    for top in range(0, rgb.shape[0], rows):
        strip = out[top : top + rows]
        cv2.copyTo(cv2.LUT(strip, tinting), subject[top : top + rows], strip)
        cv2.copyTo(line[: len(strip)], outline[top : top + rows], strip)
    return out


def _outline(subject: U8, width: int) -> U8:
    """255 within ``width`` / 2 pixels of the border of ``subject`` (0 or 255), else 0; u8[H,W].

    Morphology, because the memory and the time of contours grow with the number of a matte's edges.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(subject, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    border = np.asarray(cv2.subtract(subject, inner), np.uint8)
    centre = width // 2 + 2
    pen = np.zeros((2 * centre + 1, 2 * centre + 1), np.uint8)
    cv2.line(pen, (centre, centre), (centre, centre), 1, width)
    return np.asarray(cv2.dilate(border, pen), np.uint8)
