"""Arithmetic of pixels and alpha: exact to the nearest of 256 levels, mostly without the GIL.

Products of two bytes fit sixteen bits, so sums of "colour times alpha" are exact until the one division by 255; and as
255 is odd no quotient lies half way, so that rounding to nearest has one meaning.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.types import U8, Color

_STRIP_BYTES = 1 << 17
"""Of colour worked on at a time; the four temporaries of a strip stay in the cache."""


def flatten(rgb: U8, alpha: U8, color: Color) -> U8:
    """``rgb`` u8[H,W,3] over an opaque colour (its own alpha is not looked at): u8[H,W,3]."""
    out = np.empty_like(rgb, order="C")
    rows = min(rgb.shape[0], max(1, _STRIP_BYTES // (3 * rgb.shape[1])))
    under = np.empty((rows, rgb.shape[1], 3), np.uint8)
    under[:] = color[:3]
    for top in range(0, rgb.shape[0], rows):
        strip, cover = rgb[top : top + rows], alpha[top : top + rows]
        cover3 = cv2.merge([cover, cover, cover])
        shown = cv2.multiply(strip, cover3, dtype=cv2.CV_16U)
        behind = cv2.multiply(cv2.bitwise_not(cover3), under[: len(strip)], dtype=cv2.CV_16U)
        cv2.convertScaleAbs(cv2.add(shown, behind), dst=out[top : top + rows], alpha=1 / 255)
    return out


def straight(rgb: U8, alpha: U8) -> U8:
    """u8[H,W,4], straight colour, and no colour at all where alpha is 0: what was removed must not be in the file."""
    out = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)
    cv2.insertChannel(alpha, out, 3)
    words = out.view(np.int32)[:, :, 0]
    cv2.bitwise_xor(words, words, dst=words, mask=cv2.inRange(alpha, 0, 0))
    return out


def over(rgb: U8, alpha: U8, color: Color) -> U8:
    """``rgb`` over a colour that may be translucent: u8[H,W,4], straight (Porter and Duff 1984, "over")."""
    if color[3] == 0:
        return straight(rgb, alpha)
    if color[3] == 255:
        return np.asarray(cv2.cvtColor(flatten(rgb, alpha, color), cv2.COLOR_RGB2RGBA), np.uint8)
    out = np.empty((*alpha.shape, 4), np.uint8)
    rows = max(1, _STRIP_BYTES // (3 * rgb.shape[1]))
    under = np.array(color[:3], np.float32)
    for top in range(0, rgb.shape[0], rows):
        front = alpha[top : top + rows, :, None].astype(np.float32)
        back = (255 - front) * (color[3] / 255)
        whole = front + back  # never 0: the colour under everything has some alpha
        out[top : top + rows, :, :3] = (rgb[top : top + rows] * front + under * back) / whole + 0.5
        out[top : top + rows, :, 3:] = whole + 0.5
    return out


def resize(pixels: U8, width: int, height: int) -> U8:
    """u8[H,W] or u8[H,W,C] to another size: mean over the area when shrinking, linear when enlarging."""
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=_method(pixels, width, height)), np.uint8)


def resize_masked(rgb: U8, alpha: U8, width: int, height: int) -> tuple[U8, U8]:
    """Colour and alpha to another size, each pixel's colour weighing as much as it shows.

    Without the weights the removed background, or the black that stands for it, would bleed into the new edge.
    """
    small_alpha = resize(alpha, width, height)
    if int(alpha.min()) == 255:
        return resize(rgb, width, height), small_alpha
    method = _method(rgb, width, height)
    weighted = cv2.multiply(rgb, cv2.merge([alpha, alpha, alpha]), dtype=cv2.CV_16U)
    weighted = cv2.resize(weighted, (width, height), interpolation=method)
    weight = cv2.resize(alpha.astype(np.uint16) * 255, (width, height), interpolation=method)
    # a quotient with weight 0 is 0 in OpenCV
    small = cv2.divide(weighted, cv2.merge([weight, weight, weight]), scale=255, dtype=cv2.CV_8U)
    return np.asarray(small, np.uint8), small_alpha


def _method(pixels: U8, width: int, height: int) -> int:
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
