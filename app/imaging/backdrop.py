"""What stands behind the subject when it is more than a colour: the old background blurred, or another picture."""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.fill import smooth_fill
from app.imaging.types import U8, Matte

_SIGMA_SHARE = 15 / 1024
"""Blur radius (standard deviation) as a share of the longest side."""
_SMALL_SIGMA = 4.0
"""Pixels; a blur this wide on a reduced picture looks the same and costs a fraction."""
TINT = (120, 255, 155)


def blurred(rgb: U8, matte: Matte) -> U8:
    """The picture's background, u8[H,W,3], out of focus and without a trace of the subject in it.

    Blurring the picture itself would smear the subject into a halo around itself. The subject and its soft rim are
    taken out first and the hole is filled from around it.
    """
    height, width = matte.alpha.shape
    sigma = max(2.0, _SIGMA_SHARE * max(height, width))
    side = max(16, round(max(height, width) * min(1.0, _SMALL_SIGMA / sigma)))
    rim = 2 * round(max(height, width) / 200) + 1
    subject = cv2.dilate(matte.alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim)))
    small = smooth_fill(rgb, np.asarray(cv2.inRange(subject, 0, 2), np.uint8), side)
    reduced = sigma * max(small.shape) / max(height, width)
    soft = cv2.GaussianBlur(small, (0, 0), reduced, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.convertScaleAbs(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)), np.uint8)


def covering(picture: U8, width: int, height: int) -> U8:
    """``picture`` u8[H,W,3] centred on ``width`` x ``height`` and just large enough to leave nothing uncovered."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    wide = min(picture.shape[1], max(1, round(width / scale)))
    high = min(picture.shape[0], max(1, round(height / scale)))
    left, top = (picture.shape[1] - wide) // 2, (picture.shape[0] - high) // 2
    part = picture[top : top + high, left : left + wide]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), np.uint8)


def overlay(rgb: U8, alpha: U8) -> U8:
    """The picture with the subject tinted and outlined, u8[H,W,3]: for looking at a matte."""
    out = rgb.copy()
    tinted = np.asarray(cv2.addWeighted(rgb, 0.5, np.full_like(rgb, TINT), 0.5, 0), np.uint8)
    subject = cv2.inRange(alpha, 128, 255)
    cv2.copyTo(tinted, subject, out)
    thick = max(1, max(alpha.shape) // 400)
    contours, _ = cv2.findContours(subject, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, contours, -1, TINT, thick)
    return out
