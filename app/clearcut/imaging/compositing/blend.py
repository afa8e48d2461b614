"""Arithmetic of pixels and alpha: exact to the nearest of 256 levels, mostly without the GIL.

Products of two bytes fit sixteen bits, so sums of "colour times alpha" are exact until the one division by 255; and as
255 is odd no quotient lies half way, so that rounding to nearest has one meaning.
"""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import U8, Color

_STRIP_BYTES = 1 << 17
"""Of colour worked on at a time; the four temporaries of a strip stay in the cache."""
_MASKED_BYTES = 1 << 20
"""Of RGBA masked at a time, which takes a mask as large and a plane; of a small picture an eighth."""


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


def on_white(color: Color) -> Color:
    """A translucent background under an opaque output lies on white, as transparent ones do."""
    share = color[3]
    red, green, blue = (round((level * share + 255 * (255 - share)) / 255) for level in color[:3])
    return red, green, blue, 255


def to_rgba(rgb: U8, alpha: U8) -> U8:
    """u8[H,W,4], straight colour, and no colour at all where alpha is 0: what was removed must not be in the file."""
    out = np.empty((*alpha.shape, 4), np.uint8)
    rows = min(max(rgb.shape[0] // 8, 1), max(1, _MASKED_BYTES // (4 * rgb.shape[1])))
    for top in range(0, rgb.shape[0], rows):
        cover, strip = alpha[top : top + rows], out[top : top + rows]
        if not cv2.hasNonZero(cover):
            strip[:] = 0
            continue
        cv2.cvtColor(rgb[top : top + rows], cv2.COLOR_RGB2RGBA, dst=strip)
        kept = cv2.inRange(cover, 1, 255)
        cv2.bitwise_and(strip, cv2.merge([kept, kept, kept, cover]), dst=strip)  # the strip's own alpha is 255
    return out


def over(rgb: U8, alpha: U8, color: Color) -> U8:
    """``rgb`` over a colour that may be translucent: u8[H,W,4], straight (Porter and Duff 1984, "over")."""
    if color[3] == 0:
        return to_rgba(rgb, alpha)
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


def alpha_over(front: U8, back: U8) -> U8:
    """One straight RGBA picture over another of its size, u8[H,W,4] (Porter and Duff 1984, "over").

    ``front`` has no colour where its alpha is 0; it is returned itself where ``back`` is transparent everywhere.
    """
    under = cv2.extractChannel(back, 3)
    if not cv2.hasNonZero(under):
        return front
    out = np.empty_like(front)
    if not cv2.hasNonZero(cv2.bitwise_not(under)):
        _onto_opaque(front, back, out)
        return out
    rows = max(1, _STRIP_BYTES // (4 * front.shape[1]))
    for top in range(0, front.shape[0], rows):
        near = front[top : top + rows].astype(np.float32)
        far = back[top : top + rows].astype(np.float32)
        shown = near[:, :, 3:]
        behind = (255 - shown) * far[:, :, 3:] / 255
        whole = shown + behind
        colour = (near[:, :, :3] * shown + far[:, :, :3] * behind) / np.maximum(whole, 1e-6)
        out[top : top + rows, :, :3] = colour + 0.5
        out[top : top + rows, :, 3:] = whole + 0.5
    out[out[:, :, 3] == 0] = 0
    return out


def _onto_opaque(front: U8, back: U8, out: U8) -> None:
    """``alpha_over`` for a ``back`` without transparency, in integers; ``out`` is opaque."""
    rows = max(1, _STRIP_BYTES // (4 * front.shape[1]))
    for top in range(0, front.shape[0], rows):
        near, far = front[top : top + rows], back[top : top + rows]
        cover = cv2.merge([cv2.extractChannel(near, 3)] * 4)
        opaque = cv2.cvtColor(cv2.cvtColor(near, cv2.COLOR_RGBA2RGB), cv2.COLOR_RGB2RGBA)
        shown = cv2.multiply(opaque, cover, dtype=cv2.CV_16U)
        behind = cv2.multiply(far, cv2.bitwise_not(cover), dtype=cv2.CV_16U)
        cv2.convertScaleAbs(cv2.add(shown, behind), dst=out[top : top + rows], alpha=1 / 255)


def resize(pixels: U8, width: int, height: int) -> U8:
    """u8[H,W] or u8[H,W,C] to another size: mean over the area when shrinking, linear when enlarging."""
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)


def resize_masked(rgb: U8, alpha: U8, width: int, height: int) -> tuple[U8, U8]:
    """Colour and alpha to another size, each pixel's colour weighing as much as it shows.

    Without the weights the removed background, or the black that stands for it, would bleed into the new edge. Along
    the rows first, strip by strip, so that the weighted picture never exists at full size.
    """
    if int(alpha.min()) == 255:
        return resize(rgb, width, height), np.full((height, width), 255, np.uint8)
    rows = max(1, _STRIP_BYTES // (3 * rgb.shape[1]))
    narrow = np.empty((rgb.shape[0], width, 4), np.uint16)
    across = cv2.INTER_AREA if width <= rgb.shape[1] else cv2.INTER_LINEAR
    for top in range(0, rgb.shape[0], rows):
        cover = alpha[top : top + rows]
        solid = cv2.cvtColor(rgb[top : top + rows], cv2.COLOR_RGB2RGBA)  # whose alpha of 255 becomes the weight
        weighted = cv2.multiply(solid, cv2.merge([cover, cover, cover, cover]), dtype=cv2.CV_16U)
        cv2.resize(weighted, (width, len(cover)), dst=narrow[top : top + rows], interpolation=across)
    down = cv2.INTER_AREA if height <= rgb.shape[0] else cv2.INTER_LINEAR
    small = cv2.resize(narrow, (width, height), interpolation=down)
    weight = cv2.extractChannel(small, 3)
    # a quotient with weight 0 is 0 in OpenCV
    colour = cv2.divide(small, cv2.merge([weight, weight, weight, weight]), scale=255, dtype=cv2.CV_8U)
    return (
        np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGBA2RGB), np.uint8),
        np.asarray(cv2.convertScaleAbs(weight, alpha=1 / 255), np.uint8),
    )
