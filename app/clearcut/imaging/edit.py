"""edit: apply the options that change the matte before layout: region, threshold and reversal."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from clearcut.errors import InvalidOption, RegionEmpty, RegionOutside
from clearcut.imaging.matting.refine import ambiguous_pixels, subject_box

from .options import RemoveOptions, Roi
from .types import U8, DecodedImage, Matte

_ORDER = "left top right bottom, with left less than right and top less than bottom"


def edit(matte: Matte, image: DecodedImage, options: RemoveOptions) -> Matte:
    """Apply ``options.roi``, ``threshold`` and ``reverse`` in this order; return ``matte`` itself if none is set.

    Threshold and reversal show the colors of the image, because the estimate serves soft edges of the subject only.

    Raises:
        InvalidOption: the region ends before it begins.
        RegionOutside: the region extends past the image.
        RegionEmpty: the region has no pixel.
    """
    if options.roi is None and not options.threshold and not options.reverse:
        return matte
    alpha, foreground = matte.alpha, matte.foreground
    if options.roi is not None:
        alpha = _clear_outside(alpha, options.roi)
    if options.threshold:
        alpha = np.asarray(cv2.inRange(alpha, _lowest_alpha(options.threshold), 255), np.uint8)
        foreground = image.rgb
    if options.reverse:
        alpha = np.asarray(cv2.bitwise_not(alpha), np.uint8)
        foreground = image.rgb
        if image.alpha is not None:
            alpha = np.asarray(cv2.min(alpha, image.alpha), np.uint8)
    box = subject_box(alpha)
    return replace(
        matte,
        alpha=alpha,
        foreground=foreground,
        box=box,
        confidence=matte.confidence if box is not None else 0.0,
        ambiguous_ratio=ambiguous_pixels(alpha) / alpha.size,
    )


def _lowest_alpha(threshold: float) -> int:
    """Return the lowest alpha, 1..255, that becomes opaque at a threshold of 0..1."""
    return max(1, min(255, int(np.ceil(threshold * 255))))


def _clear_outside(alpha: U8, roi: Roi) -> U8:
    height, width = alpha.shape
    left, right = roi.left.pixels(width), roi.right.pixels(width)
    top, bottom = roi.top.pixels(height), roi.bottom.pixels(height)
    if left > right or top > bottom:
        raise InvalidOption("roi", f"{_ORDER}; this region is {left} {top} {right} {bottom} in pixels")
    if right > width or bottom > height:
        raise RegionOutside("roi", f"a region within the image of {width} x {height} pixels")
    if left == right or top == bottom:
        raise RegionEmpty("roi", "a region that is not empty")
    inside = np.zeros_like(alpha)
    inside[top:bottom, left:right] = alpha[top:bottom, left:right]
    return inside
