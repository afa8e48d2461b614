"""A soft contact shadow under the subject: darkest where it stands, fading with distance."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import U8

_FLATTEN = 0.12
"""Height of the ground shadow as a share of the subject's height."""
_BLUR = 0.03
"""Softness as a share of the subject's longest side."""
_SMALL_SIGMA = 4.0
"""Largest standard deviation of the blur in pixels; the shadow is reduced until its softness is at most this."""
_FAINTEST = 0.5
"""Level of 255; a silhouette that is blurred to less has no shadow."""


def contact_shadow(alpha: U8, opacity: float) -> U8:
    """The shadow's own alpha, u8[H,W], for a subject of alpha u8[H,W] as it stands on the canvas.

    The silhouette is flattened onto a line through its lowest point, the ground, and blurred; ``opacity`` 0..1 is that
    of its darkest part. It lies in the canvas only: nothing is enlarged for it.
    """
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, 10, 255))
    shadow = np.zeros_like(alpha)
    if not width or opacity <= 0:
        return shadow
    squat = max(1, round(height * _FLATTEN))
    flat = cv2.resize(alpha[top : top + height, left : left + width], (width, squat), interpolation=cv2.INTER_AREA)
    ground = top + height - squat // 2
    first, last = max(0, ground - squat // 2), min(alpha.shape[0], ground - squat // 2 + squat)
    start = first - (ground - squat // 2)
    shadow[first:last, left : left + width] = flat[start : start + last - first]
    sigma = max(0.8, _BLUR * max(width, height))
    scale = min(1.0, _SMALL_SIGMA / sigma)
    size = max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale))
    small = cv2.resize(shadow, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = sigma * size[0] / alpha.shape[1], sigma * size[1] / alpha.shape[0]
    soft = cv2.GaussianBlur(small, (0, 0), across, sigmaY=down, borderType=cv2.BORDER_CONSTANT)
    peak = float(soft.max())
    if peak < _FAINTEST:
        return np.zeros_like(alpha)
    dark = cv2.convertScaleAbs(soft, alpha=255 * opacity / peak)
    return np.asarray(cv2.resize(dark, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
