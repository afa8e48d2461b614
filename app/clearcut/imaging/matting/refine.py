"""refine: the network's small square becomes the matte of the whole picture, with the colour to show under it."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8, Box, DecodedImage, EdgeModel, Matte, RawMatte

from .edge_band import Strips, strips_of
from .foreground import estimate_foreground_inplace, foreground_strips
from .guided_filter import upsample

_BOX_LEVEL = 10
"""Alpha from which a pixel counts as subject for the bounding box."""
_STRIP = 64
"""Rows that are looked at together for the bounding box, if nobody says."""
_MIN_PEAK = 0.5
_MIN_AREA = 3e-4
"""Less than this share of the square at 0.5 or more is noise and not a subject."""
_AMBIGUOUS = (26, 229)
"""0.1 and 0.9 of 255."""


def refine(raw: RawMatte, image: DecodedImage, edges: EdgeModel | None = None, *, colour: bool = True) -> Matte:
    """The matte at the picture's size.

    ``raw.values`` is f32[h,w] in 0..1 of any size, stretched over the whole picture. Without a subject alpha is 0
    everywhere, ``box`` None and ``confidence`` 0: nothing is stretched. See ``finish_matte`` for the picture's own
    transparency and for ``colour``, ``upsample`` for ``edges``.
    """
    if not has_subject(raw.values):
        alpha = np.zeros((image.height, image.width), np.uint8)
        return Matte(alpha=alpha, foreground=image.rgb, box=None, confidence=0.0, ambiguous_ratio=0.0)
    decided = confidence(raw.values)  # here, where the values are in the cache still: a hundredth of a megapixel's time
    # The copy that will become the foreground is read in place of the picture from here on: it was written just now and
    # lies in the processor's cache, which takes a twelfth off a megapixel's time.
    own = image.rgb.copy() if colour else image.rgb
    alpha = upsample(raw.values, own, edges)
    return finish_matte(alpha, image, decided, own, colour=colour)


def finish_matte(
    alpha: U8, image: DecodedImage, confidence: float, own: U8 | None = None, *, colour: bool = True
) -> Matte:
    """A matte from an ``alpha`` (u8[H,W]) that has the picture's size already, the network's or the caller's own.

    Where the picture is transparent itself the smaller of the two alphas holds: both describe the same edge, and a
    cut-out put through again must not fade. For the same reason its colour is left alone there: it is straight
    already. Elsewhere ``colour`` takes the old background's share out of the soft edge. ``own``: a copy of the picture
    to do so in, if there is one already.
    """
    if image.alpha is not None:
        alpha = np.asarray(cv2.min(alpha, image.alpha), np.uint8)
    strips = foreground_strips(alpha)
    box = subject_box(alpha, strips)
    foreground = image.rgb
    if colour and box is not None:
        foreground = image.rgb.copy() if own is None else own
        estimate_foreground_inplace(foreground, alpha, strips)
        if image.alpha is not None:
            cv2.copyTo(image.rgb, cv2.inRange(image.alpha, 0, 254), foreground)
    ambiguous = 0
    if box is not None:  # beyond it nothing reaches 0.1
        inside = alpha[box.top : box.bottom, box.left : box.right]
        ambiguous = int(cv2.countNonZero(cv2.inRange(inside, *_AMBIGUOUS)))
    return Matte(
        alpha=alpha if box is not None else np.zeros_like(alpha),
        foreground=foreground,
        box=box,
        confidence=confidence if box is not None else 0.0,
        ambiguous_ratio=ambiguous / alpha.size,
    )


def has_subject(values: F32) -> bool:
    """Whether anything in ``values`` (f32[h,w] in 0..1) is decided enough, and large enough, to be a subject."""
    if float(values.max(initial=0.0)) < _MIN_PEAK:
        return False
    return int(np.count_nonzero(values >= _MIN_PEAK)) >= _MIN_AREA * values.size


def subject_box(alpha: U8, strips: Strips | None = None) -> Box | None:
    """The bounding box of alpha >= 10, or None; ``strips`` of ``alpha``, if they are known already."""
    # Down the columns of strips first; then along the rows of the outermost strips alone.
    rows, most = strips or strips_of(alpha, _STRIP)
    held = most >= _BOX_LEVEL
    columns, some = np.flatnonzero(held.any(axis=0)), np.flatnonzero(held.any(axis=1))
    if not some.size:
        return None
    left, right = int(columns[0]), int(columns[-1])
    first, last = (int(each) * rows for each in some[[0, -1]])
    top, bottom = (
        begin + int(np.flatnonzero(alpha[begin : begin + rows].max(axis=1) >= _BOX_LEVEL)[which])
        for begin, which in ((first, 0), (last, -1))
    )
    return Box(left, top, right - left + 1, bottom - top + 1)


def confidence(values: F32) -> float:
    """0..1: how far from undecided the network is, on average over what it calls subject or may be subject.

    The mean of |2p - 1| weighted by p, so that a large empty background does not make a hazy subject look decided.
    """
    weight = cv2.sumElems(values)[0]
    distance = np.abs(values - np.float32(0.5))
    return float(np.vdot(values, distance)) * 2 / weight if weight > 0 else 0.0
