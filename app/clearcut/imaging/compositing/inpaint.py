"""Colour where there is none: a smooth continuation of what is known, for hidden or removed pixels.

Push-pull interpolation (Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996, section 3.5.1) on a
reduced picture: averages of the known colours are pushed up a pyramid until every hole has one, then pulled down into
the holes. What is filled is smooth by construction, so working small loses nothing and bounds the cost.
"""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8

_WORK_SIDE = 512
"""Pixels; longest side of the picture that is worked on."""


def extend(rgb: U8, known: U8) -> U8:
    """u8[H,W,3] with every pixel where ``known`` (u8[H,W]) is 0 replaced by a continuation of the known ones.

    Known pixels are kept bit for bit. Where nothing is known at all the result is white.
    """
    height, width = known.shape
    smooth = smooth_fill(rgb, known, _WORK_SIDE)
    out = enlarge(smooth, width, height)
    cv2.copyTo(rgb, cv2.inRange(known, 1, 255), out)
    return out


def enlarge(small: F32, width: int, height: int) -> U8:
    """``small`` f32[h,w,3] in 0..255 by linear interpolation to u8[height,width,3], with 4 bytes a pixel besides."""
    out = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        full = cv2.resize(cv2.extractChannel(small, channel), (width, height), interpolation=cv2.INTER_LINEAR)
        cv2.insertChannel(cv2.convertScaleAbs(full), out, channel)
    return out


def smooth_fill(rgb: U8, known: U8, side: int) -> F32:
    """``rgb`` reduced to at most ``side`` pixels, holes filled: f32[h,w,3] in 0..255."""
    height, width = known.shape
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    visible = np.zeros_like(rgb)
    cv2.copyTo(rgb, cv2.inRange(known, 1, 255), visible)
    solid = cv2.inRange(known, 1, 255)
    colour = cv2.resize(visible, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(solid, size, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    return _push_pull(colour, np.asarray(weight, np.float32))


def _push_pull(colour: F32, weight: F32) -> F32:
    """Colour premultiplied by weight f32[h,w,3], weight f32[h,w] in 0..1: colour with every hole filled."""
    height, width = weight.shape
    known = weight[:, :, None]
    own = np.asarray(colour / np.maximum(known, np.float32(1e-6)), np.float32)
    if float(weight.min()) >= 1:
        return own
    if height == width == 1:
        return own if weight[0, 0] > 0 else np.full_like(own, 255)
    half = max(1, (width + 1) // 2), max(1, (height + 1) // 2)
    coarse_colour = np.asarray(cv2.resize(colour, half, interpolation=cv2.INTER_AREA), np.float32)
    coarse_weight = np.asarray(cv2.resize(weight, half, interpolation=cv2.INTER_AREA), np.float32)
    # A coarse pixel that is partly known counts for more than its share: holes close from their rims inwards.
    boost = np.asarray(np.minimum(1, 4 * coarse_weight) / np.maximum(coarse_weight, 1e-6), np.float32)
    coarse = _push_pull(coarse_colour * boost[:, :, None], coarse_weight * boost)
    below = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(own * known + below * (1 - known), np.float32)
