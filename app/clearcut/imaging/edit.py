"""Changes to the matte that a caller may ask for before anything is laid out: region, hard cut, reversal."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from clearcut.errors import RegionEmpty, RegionOutside
from clearcut.imaging.matting.refine import subject_box

from .options import RemoveOptions, Roi
from .types import U8, DecodedImage, Matte


def edit(matte: Matte, image: DecodedImage, options: RemoveOptions) -> Matte:
    """``matte`` with ``options.roi``, ``threshold`` and ``reverse`` applied, in that order; itself when there are none.

    A hard cut shows the picture's own colours: there is no soft edge left for an estimate to serve.

    Raises:
        RegionOutside, RegionEmpty: the region is not one of the picture's.
    """
    if options.roi is None and not options.threshold and not options.reverse:
        return matte
    alpha, foreground = matte.alpha, matte.foreground
    if options.roi is not None:
        alpha = _within(alpha, options.roi)
    if options.threshold:
        alpha = np.asarray(cv2.inRange(alpha, _level(options.threshold), 255), np.uint8)
        foreground = image.rgb
    if options.reverse:
        alpha = np.asarray(cv2.bitwise_not(alpha), np.uint8)
        foreground = image.rgb
        if image.alpha is not None:
            alpha = np.asarray(cv2.min(alpha, image.alpha), np.uint8)
    box = subject_box(alpha)
    soft = int(cv2.countNonZero(cv2.inRange(alpha, 26, 229)))
    return replace(
        matte,
        alpha=alpha,
        foreground=foreground,
        box=box,
        confidence=matte.confidence if box is not None else 0.0,
        ambiguous_ratio=soft / alpha.size,
    )


def _level(threshold: float) -> int:
    """The least alpha 1..255 that a threshold 0..1 keeps."""
    return max(1, min(255, int(np.ceil(threshold * 255))))


def _within(alpha: U8, roi: Roi) -> U8:
    height, width = alpha.shape
    left, right = sorted((roi.left.pixels(width), roi.right.pixels(width)))
    top, bottom = sorted((roi.top.pixels(height), roi.bottom.pixels(height)))
    if right > width or bottom > height:
        raise RegionOutside("roi", f"a region within the image of {width} x {height} pixels")
    if left == right or top == bottom:
        raise RegionEmpty("roi", "a region that is not empty")
    inside = np.zeros_like(alpha)
    inside[top:bottom, left:right] = alpha[top:bottom, left:right]
    return inside
