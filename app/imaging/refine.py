"""refine: the network's small square becomes the matte of the whole picture."""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.types import F32, U8, Box, DecodedImage, Matte, RawMatte

_BOX_LEVEL = 10
"""Alpha from which a pixel counts as subject for the bounding box."""
_MIN_PEAK = 0.5
_MIN_AREA = 3e-4
"""Less than this share of the square at 0.5 or more is noise and not a subject."""
_LOW, _HIGH = 0.05, 0.95
"""Below and above: haze of the network, squashed to exactly 0 and 255."""


def refine(raw: RawMatte, image: DecodedImage, *, colour: bool = True) -> Matte:
    """The matte at the picture's size.

    ``raw.values`` f32[h,w] in 0..1 of any size, stretched over the whole picture. Where the picture has its own
    transparency the smaller of the two alphas holds: both describe the same edge, and a cut-out put through again
    must not fade. Without a subject alpha is 0 everywhere, ``box`` None and ``confidence`` 0: nothing is stretched.

    ``colour``: take the old background's colour out of the soft edge.
    """
    if not has_subject(raw.values):
        return _nothing(image)
    alpha = upsample(raw.values, image.width, image.height)
    if image.alpha is not None:
        alpha = np.asarray(cv2.min(alpha, image.alpha), np.uint8)
    box = subject_box(alpha)
    if box is None:
        return _nothing(image)
    soft = int(cv2.countNonZero(cv2.inRange(alpha, 26, 229)))
    return Matte(
        alpha=alpha,
        foreground=image.rgb,
        box=box,
        confidence=confidence(raw.values),
        ambiguous_ratio=soft / alpha.size,
    )


def has_subject(values: F32) -> bool:
    """Whether anything in ``values`` (f32[h,w] in 0..1) is decided enough, and large enough, to be a subject."""
    if float(values.max(initial=0.0)) < _MIN_PEAK:
        return False
    return int(np.count_nonzero(values >= _MIN_PEAK)) >= _MIN_AREA * values.size


def upsample(values: F32, width: int, height: int) -> U8:
    """f32[h,w] in 0..1 to u8[height,width], the haze at both ends squashed."""
    levelled = (values - _LOW) * (255.0 / (_HIGH - _LOW))
    small = np.clip(levelled + 0.5, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def subject_box(alpha: U8) -> Box | None:
    """The bounding box of alpha >= 10, or None."""
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, _BOX_LEVEL, 255))
    return Box(left, top, width, height) if width else None


def confidence(values: F32) -> float:
    """0..1: how far from undecided the network is, on average over what it calls subject or may be subject."""
    weight = float(values.sum())
    return float((values * np.abs(2.0 * values - 1.0)).sum()) / weight if weight > 0 else 0.0


def _nothing(image: DecodedImage) -> Matte:
    alpha = np.zeros((image.height, image.width), np.uint8)
    return Matte(alpha=alpha, foreground=image.rgb, box=None, confidence=0.0, ambiguous_ratio=0.0)
