"""Transparent input: when its alpha is already the matte of a cut-out, and the matte made from it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from clearcut.imaging.types import U8, DecodedImage, Matte

from .refine import finish_matte

_MIN_TRANSPARENT = 0.10
"""Least share of fully transparent pixels in a cut-out."""
_MIN_BORDER = 0.5
"""Least share of fully transparent pixels on the border of a cut-out."""
_MIN_SOFT = 0.25
"""Share of translucent pixels among those next to a fully transparent pixel, from which on an edge is soft. Straight
edges on pixel boundaries are hard in every image; screenshots with round corners and a margin have at most 0.154
(``benchmarks/input_alpha.py``)."""
_OPAQUE = 128
"""Lowest alpha of a part."""
_MIN_PART = 1e-4
"""Least share of the image that a part covers; smaller ones are specks."""
_PARTS_SIDE = 512
"""Longest side at which parts are counted, in pixels."""


def is_cutout(alpha: U8) -> bool:
    """Return whether an image with this alpha, u8[H,W], is a cut-out already.

    At least 10 % of its pixels and half of its border are fully transparent, and it has a soft edge or at least two
    separate opaque parts. Screenshots with round corners, and images with a transparent margin around one rectangle,
    are no cut-outs.
    """
    transparent = np.asarray(cv2.inRange(alpha, 0, 0), np.uint8)
    if cv2.countNonZero(transparent) < _MIN_TRANSPARENT * alpha.size:
        return False
    if _transparent_border(transparent) < _MIN_BORDER:
        return False
    return _has_soft_edge(alpha, transparent) or _parts(alpha) >= 2


def matte_of_alpha(image: DecodedImage, alpha: U8) -> Matte:
    """Return ``alpha``, that of the image, as its matte. The colors are straight already and stay unchanged.

    The confidence is 1, or 0 without a subject, because the caller's matte is correct. ``plain_background`` is True if
    at least half of the border is fully transparent, as in every cut-out.
    """
    has_background = _transparent_border(np.asarray(cv2.inRange(alpha, 0, 0), np.uint8)) >= _MIN_BORDER
    matte = finish_matte(alpha, image, 1.0, despill=False)
    return replace(matte, foreground=image.rgb, plain_background=has_background)


def _transparent_border(transparent: U8) -> float:
    """Return the share of the border, 0..1, that is nonzero in ``transparent``, u8[H,W]."""
    border = np.concatenate([transparent[0], transparent[-1], transparent[1:-1, 0], transparent[1:-1, -1]])
    return np.count_nonzero(border) / border.size


def _has_soft_edge(alpha: U8, transparent: U8) -> bool:
    outside = cv2.dilate(transparent, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    edge = cv2.bitwise_and(outside, cv2.bitwise_not(transparent))
    length = cv2.countNonZero(edge)
    soft = cv2.countNonZero(cv2.bitwise_and(edge, cv2.inRange(alpha, 1, 254)))
    return length > 0 and soft >= _MIN_SOFT * length


def _parts(alpha: U8) -> int:
    """Count the separate opaque parts."""
    scale = min(1.0, _PARTS_SIDE / max(alpha.shape))
    size = max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale))
    reduced = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) if scale < 1 else alpha
    opaque = cv2.inRange(reduced, _OPAQUE, 255)
    _, _, stats, _ = cv2.connectedComponentsWithStats(opaque, connectivity=8)
    areas = np.asarray(stats)[1:, cv2.CC_STAT_AREA]
    return int(np.count_nonzero(areas >= max(2, _MIN_PART * opaque.size)))
