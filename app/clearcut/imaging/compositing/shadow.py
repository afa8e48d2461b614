"""A soft contact shadow: darkest where the subject touches the floor, fading with distance."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import U8

_FLATTEN = 0.12
"""Height of the shadow as a share of the subject's height."""
_BLUR = 0.03
"""Standard deviation of the blur as a share of the subject's longest side."""
_SMALL_SIGMA = 4.0
"""Largest standard deviation of the blur in pixels; a wider blur is computed on a reduced image."""
_FAINTEST = 0.5
"""Level of 255; a silhouette that is blurred to less has no shadow."""


def contact_shadow(alpha: U8, opacity: float) -> U8:
    """Return the alpha of the shadow, u8[H,W], for a subject of alpha u8[H,W] on its canvas.

    The silhouette is flattened onto a horizontal line through its lowest point and blurred. The shadow does not enlarge
    the canvas.

    Args:
        opacity: of the darkest part of the shadow, 0..1.
    """
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, 10, 255))
    shadow = np.zeros_like(alpha)
    if not width or opacity <= 0:
        return shadow
    flat_height = max(1, round(height * _FLATTEN))
    silhouette = alpha[top : top + height, left : left + width]
    flat = cv2.resize(silhouette, (width, flat_height), interpolation=cv2.INTER_AREA)
    begin = top + height - flat_height // 2 - flat_height // 2
    first, last = max(0, begin), min(alpha.shape[0], begin + flat_height)
    shadow[first:last, left : left + width] = flat[first - begin : last - begin]
    sigma = max(0.8, _BLUR * max(width, height))
    scale = min(1.0, _SMALL_SIGMA / sigma)
    size = max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale))
    small = cv2.resize(shadow, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    sigma_x, sigma_y = sigma * size[0] / alpha.shape[1], sigma * size[1] / alpha.shape[0]
    soft = cv2.GaussianBlur(small, (0, 0), sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_CONSTANT)
    peak = float(soft.max())
    if peak < _FAINTEST:
        return np.zeros_like(alpha)
    scaled = cv2.convertScaleAbs(soft, alpha=255 * opacity / peak)
    return np.asarray(cv2.resize(scaled, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
