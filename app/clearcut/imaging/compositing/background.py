"""Backgrounds other than a color: the blurred original, the original with the subject tinted, or another image."""

from __future__ import annotations

import math

import cv2
import numpy as np

from clearcut.imaging.types import U8, Matte

from .inpaint import enlarge, smooth_fill

_SIGMA_SHARE = 15 / 1024
"""Standard deviation of the blur as a share of the longest side."""
_SMALL_SIGMA = 4.0
"""Pixels; a wider blur is computed on a reduced image, which looks the same and costs less."""
TINT = (120, 255, 155)
_STRIP_BYTES = 1 << 17
"""Bytes of RGB that ``overlay`` changes at a time."""


def blur_background(rgb: U8, matte: Matte) -> U8:
    """Return the blurred background of the image without the subject, u8[H,W,3].

    The subject and its soft edge are removed and the hole is filled before the blur. Otherwise the subject would leave
    a halo.
    """
    height, width = matte.alpha.shape
    sigma = max(2.0, _SIGMA_SHARE * max(height, width))
    side = max(16, round(max(height, width) * min(1.0, _SMALL_SIGMA / sigma)))
    margin = round(max(height, width) / 200)
    small = smooth_fill(rgb, _clear_of_subject(matte.alpha, margin), side)
    reduced = sigma * max(small.shape) / max(height, width)
    soft = cv2.GaussianBlur(small, (0, 0), reduced, borderType=cv2.BORDER_REPLICATE)
    return enlarge(np.asarray(soft, np.float32), width, height)


def scale_to_cover(rgb: U8, width: int, height: int) -> U8:
    """Scale ``rgb`` u8[H,W,3] to cover ``width`` x ``height`` pixels, and crop it around its center."""
    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    part_width = min(rgb.shape[1], max(1, round(width / scale)))
    part_height = min(rgb.shape[0], max(1, round(height / scale)))
    left, top = (rgb.shape[1] - part_width) // 2, (rgb.shape[0] - part_height) // 2
    part = rgb[top : top + part_height, left : left + part_width]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), np.uint8)


def overlay(rgb: U8, alpha: U8) -> U8:
    """Return ``rgb`` with the subject tinted and outlined, u8[H,W,3], for the inspection of a matte.

    The subject is where alpha is 128 or more. Memory besides the output: four bytes a pixel for any matte.
    """
    subject = np.asarray(cv2.inRange(alpha, 128, 255), np.uint8)
    outline = _outline(subject, max(1, max(alpha.shape) // 400))
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tint_table = cv2.addWeighted(levels, 0.5, np.full_like(levels, TINT), 0.5, 0)
    out = rgb.copy()
    rows = max(1, _STRIP_BYTES // (3 * rgb.shape[1]))
    tint = np.empty((rows, rgb.shape[1], 3), np.uint8)
    tint[:] = TINT
    for top in range(0, rgb.shape[0], rows):
        strip = out[top : top + rows]
        cv2.copyTo(cv2.LUT(strip, tint_table), subject[top : top + rows], strip)
        cv2.copyTo(tint[: len(strip)], outline[top : top + rows], strip)
    return out


def _clear_of_subject(alpha: U8, margin: int) -> U8:
    """Return 255 where no pixel of alpha 3 or more is within ``margin`` pixels, else 0; u8[H,W].

    A distance transform is used because the cost of a dilation grows with the area of its kernel.
    """
    distance = cv2.distanceTransform(cv2.inRange(alpha, 0, 2), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(cv2.inRange(distance, margin + 0.25, math.inf), np.uint8)


def _outline(subject: U8, width: int) -> U8:
    """Return 255 within ``width`` / 2 pixels of the border of ``subject`` (0 or 255), else 0; u8[H,W].

    Morphology is used because the memory and time of contours grow with the number of edges in the matte.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(subject, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    border = np.asarray(cv2.subtract(subject, inner), np.uint8)
    center = width // 2 + 2
    pen = np.zeros((2 * center + 1, 2 * center + 1), np.uint8)
    cv2.line(pen, (center, center), (center, center), 1, width)
    return np.asarray(cv2.dilate(border, pen), np.uint8)
