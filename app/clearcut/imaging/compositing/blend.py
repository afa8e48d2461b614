"""Blending and resizing of pixels with alpha, exact to the nearest of 256 levels.

The product of two bytes fits 16 bits, so sums of color times alpha are exact until the single division by 255. Since
255 is odd, no quotient is halfway between two levels, and rounding to nearest is unambiguous. Most work is done in
OpenCV without the GIL.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from clearcut.imaging.types import U8, Color

_STRIP_BYTES = 1 << 17
"""Bytes of color processed at a time; the four temporaries of a strip fit the CPU cache."""
_MASKED_BYTES = 1 << 20
"""Bytes of RGBA that ``to_rgba`` masks at a time, or an eighth of a smaller image."""


def flatten(rgb: U8, alpha: U8, color: Color) -> U8:
    """Blend ``rgb`` u8[H,W,3] over an opaque color, u8[H,W,3]; the alpha of ``color`` is ignored."""
    out = np.empty_like(rgb, order="C")
    rows = min(rgb.shape[0], max(1, _STRIP_BYTES // (3 * rgb.shape[1])))
    background = np.empty((rows, rgb.shape[1], 3), np.uint8)
    background[:] = color[:3]
    for top in range(0, rgb.shape[0], rows):
        strip, cover = rgb[top : top + rows], alpha[top : top + rows]
        cover3 = cv2.merge([cover, cover, cover])
        front = cv2.multiply(strip, cover3, dtype=cv2.CV_16U)
        back = cv2.multiply(cv2.bitwise_not(cover3), background[: len(strip)], dtype=cv2.CV_16U)
        cv2.convertScaleAbs(cv2.add(front, back), dst=out[top : top + rows], alpha=1 / 255)
    return out


def over_white(color: Color) -> Color:
    """Blend a translucent color over white, for outputs without alpha."""
    alpha = color[3]
    red, green, blue = (round((level * alpha + 255 * (255 - alpha)) / 255) for level in color[:3])
    return red, green, blue, 255


def to_rgba(rgb: U8, alpha: U8) -> U8:
    """Return straight RGBA u8[H,W,4] with color 0 where alpha is 0, so that the file contains no removed pixel."""
    out = np.empty((*alpha.shape, 4), np.uint8)
    rows = min(max(rgb.shape[0] // 8, 1), max(1, _MASKED_BYTES // (4 * rgb.shape[1])))
    for top in range(0, rgb.shape[0], rows):
        cover, strip = alpha[top : top + rows], out[top : top + rows]
        if not cv2.hasNonZero(cover):
            strip[:] = 0
            continue
        mask_into(rgb[top : top + rows], cover, strip)
    return out


def mask_into(rgb: U8, alpha: U8, out: U8) -> None:
    """Write straight RGBA with color 0 where alpha is 0 into ``out`` (u8[h,w,4])."""
    cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA, dst=out)
    visible = cv2.inRange(alpha, 1, 255)
    # The alpha channel of ``out`` is 255, so the bitwise AND sets it to ``alpha``.
    cv2.bitwise_and(out, cv2.merge([visible, visible, visible, alpha]), dst=out)


def over_color(rgb: U8, alpha: U8, color: Color) -> U8:
    """Blend ``rgb`` over a color that may be translucent: straight u8[H,W,4] (Porter and Duff 1984, "over")."""
    if color[3] == 0:
        return to_rgba(rgb, alpha)
    if color[3] == 255:
        return np.asarray(cv2.cvtColor(flatten(rgb, alpha, color), cv2.COLOR_RGB2RGBA), np.uint8)
    out = np.empty((*alpha.shape, 4), np.uint8)
    rows = max(1, _STRIP_BYTES // (3 * rgb.shape[1]))
    background = np.array(color[:3], np.float32)
    for top in range(0, rgb.shape[0], rows):
        front = alpha[top : top + rows, :, None].astype(np.float32)
        back = (255 - front) * (color[3] / 255)
        total = front + back  # never 0, because the alpha of the color is above 0
        out[top : top + rows, :, :3] = (rgb[top : top + rows] * front + background * back) / total + 0.5
        out[top : top + rows, :, 3:] = total + 0.5
    return out


def alpha_over(front: U8, back: U8) -> U8:
    """Blend one straight RGBA image over another of its size, u8[H,W,4] (Porter and Duff 1984, "over").

    ``front`` must have color 0 where its alpha is 0. It is returned itself if ``back`` is transparent everywhere.
    """
    back_alpha = cv2.extractChannel(back, 3)
    if not cv2.hasNonZero(back_alpha):
        return front
    out = np.empty_like(front)
    if not cv2.hasNonZero(cv2.bitwise_not(back_alpha)):
        _over_opaque(front, back, out)
        return out
    rows = max(1, _STRIP_BYTES // (4 * front.shape[1]))
    for top in range(0, front.shape[0], rows):
        near = front[top : top + rows].astype(np.float32)
        far = back[top : top + rows].astype(np.float32)
        near_alpha = near[:, :, 3:]
        far_share = (255 - near_alpha) * far[:, :, 3:] / 255
        total = near_alpha + far_share
        color = (near[:, :, :3] * near_alpha + far[:, :, :3] * far_share) / np.maximum(total, 1e-6)
        out[top : top + rows, :, :3] = color + 0.5
        out[top : top + rows, :, 3:] = total + 0.5
    out[out[:, :, 3] == 0] = 0
    return out


def _over_opaque(front: U8, back: U8, out: U8) -> None:
    """Compute ``alpha_over`` in integers for a ``back`` without transparency; ``out`` becomes opaque."""
    rows = max(1, _STRIP_BYTES // (4 * front.shape[1]))
    for top in range(0, front.shape[0], rows):
        near, far = front[top : top + rows], back[top : top + rows]
        cover = cv2.merge([cv2.extractChannel(near, 3)] * 4)
        opaque = cv2.cvtColor(cv2.cvtColor(near, cv2.COLOR_RGBA2RGB), cv2.COLOR_RGB2RGBA)
        shown = cv2.multiply(opaque, cover, dtype=cv2.CV_16U)
        behind = cv2.multiply(far, cv2.bitwise_not(cover), dtype=cv2.CV_16U)
        cv2.convertScaleAbs(cv2.add(shown, behind), dst=out[top : top + rows], alpha=1 / 255)


def resize(pixels: U8, width: int, height: int) -> U8:
    """Resize u8[H,W] or u8[H,W,C]: area means when both sides shrink, else linear interpolation."""
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)


def resize_masked(rgb: U8, alpha: U8, width: int, height: int) -> tuple[U8, U8]:
    """Resize color and alpha, with the color of each pixel weighted by its alpha.

    Without the weights, the removed background would bleed into the new edge. The horizontal pass goes strip by strip,
    so the weighted image never exists at full size. Only the visible part of the image is processed.
    """
    if int(alpha.min()) == 255:
        return resize(rgb, width, height), np.full((height, width), 255, np.uint8)
    height_before, width_before = alpha.shape
    shrinks = width <= width_before and height <= height_before
    # Linear interpolation of a part of the image can round differently.
    left, top, visible_width, visible_height = (
        cv2.boundingRect(alpha) if shrinks else (0, 0, width_before, height_before)
    )
    columns = slice(left, left + visible_width)
    rows = max(1, _STRIP_BYTES // (3 * width_before))
    narrow = np.zeros((height_before, width, 4), np.uint16)
    weighted = np.zeros((rows, width_before, 4), np.uint16)
    horizontal = cv2.INTER_AREA if width <= width_before else cv2.INTER_LINEAR
    for first in range(top, top + visible_height, rows):
        area = slice(first, min(first + rows, top + visible_height)), columns
        cover = alpha[area]
        opaque = cv2.cvtColor(rgb[area], cv2.COLOR_RGB2RGBA)  # its alpha of 255 becomes the weight
        strip = weighted[: len(cover)]
        np.multiply(opaque, cv2.merge([cover, cover, cover, cover]), out=strip[:, columns], dtype=np.uint16)
        cv2.resize(strip, (width, len(cover)), dst=narrow[area[0]], interpolation=horizontal)
    vertical = cv2.INTER_AREA if height <= height_before else cv2.INTER_LINEAR
    color, cover = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    across = _scaled_range(left, visible_width, width / width_before, width)
    down = _scaled_range(top, visible_height, height / height_before, height)
    small = cv2.resize(narrow[:, across], (across.stop - across.start, height), interpolation=vertical)[down]
    weight = cv2.extractChannel(small, 3)
    # OpenCV defines a division by 0 as 0.
    levels = cv2.divide(small, cv2.merge([weight, weight, weight, weight]), scale=255, dtype=cv2.CV_8U)
    color[down, across] = cv2.cvtColor(levels, cv2.COLOR_RGBA2RGB)
    cover[down, across] = cv2.convertScaleAbs(weight, alpha=1 / 255)
    return color, cover


def _scaled_range(start: int, length: int, scale: float, size: int) -> slice:
    """Return the samples of a resized axis that depend on ``length`` samples from ``start``; at least one."""
    margin = math.ceil(scale) + 1
    first = min(max(0, math.floor(start * scale) - margin), size - 1)
    return slice(first, min(size, max(first + 1, math.ceil((start + length) * scale) + margin)))
