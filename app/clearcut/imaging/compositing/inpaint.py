"""Inpainting: smooth continuation of known colors into unknown pixels.

The method is push-pull interpolation (Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996, section
3.5.1). Averages of the known colors are pushed up a pyramid until every hole has one, then pulled down into the holes.
The result is smooth, so a reduced image loses nothing and bounds the cost.
"""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8

_WORK_SIDE = 512
"""Longest side, in pixels, of the reduced image that is filled."""


def extend(rgb: U8, known: U8) -> U8:
    """Replace every pixel of u8[H,W,3] where ``known`` (u8[H,W]) is 0 by a continuation of the known pixels.

    Known pixels do not change. If no pixel is known, the result is white.
    """
    height, width = known.shape
    smooth = smooth_fill(rgb, known, _WORK_SIDE)
    out = enlarge(smooth, width, height)
    cv2.copyTo(rgb, cv2.inRange(known, 1, 255), out)
    return out


def enlarge(small: F32, width: int, height: int) -> U8:
    """Enlarge f32[h,w,3] in 0..255 to u8[height,width,3] by linear interpolation; extra memory: 4 bytes a pixel."""
    out = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        full = cv2.resize(cv2.extractChannel(small, channel), (width, height), interpolation=cv2.INTER_LINEAR)
        cv2.insertChannel(cv2.convertScaleAbs(full), out, channel)
    return out


def smooth_fill(rgb: U8, known: U8, side: int) -> F32:
    """Reduce ``rgb`` to at most ``side`` pixels and fill the pixels where ``known`` is 0: f32[h,w,3] in 0..255."""
    height, width = known.shape
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mask = cv2.inRange(known, 1, 255)
    visible = np.zeros_like(rgb)
    cv2.copyTo(rgb, mask, visible)
    color = cv2.resize(visible, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    return _push_pull(color, np.asarray(weight, np.float32))


def _push_pull(color: F32, weight: F32) -> F32:
    """Fill the holes of ``color``, f32[h,w,3] premultiplied by ``weight``, f32[h,w] in 0..1."""
    height, width = weight.shape
    known = weight[:, :, None]
    own = np.asarray(color / np.maximum(known, np.float32(1e-6)), np.float32)
    if float(weight.min()) >= 1:
        return own
    if height == width == 1:
        return own if weight[0, 0] > 0 else np.full_like(own, 255)
    half = max(1, (width + 1) // 2), max(1, (height + 1) // 2)
    coarse_color = np.asarray(cv2.resize(color, half, interpolation=cv2.INTER_AREA), np.float32)
    coarse_weight = np.asarray(cv2.resize(weight, half, interpolation=cv2.INTER_AREA), np.float32)
    # A partly known coarse pixel gets more than its share of weight, so that holes close from their borders inward.
    boost = np.asarray(np.minimum(1, 4 * coarse_weight) / np.maximum(coarse_weight, 1e-6), np.float32)
    coarse = _push_pull(coarse_color * boost[:, :, None], coarse_weight * boost)
    below = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(own * known + below * (1 - known), np.float32)
