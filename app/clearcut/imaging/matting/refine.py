"""refine: upsample the network's output to the matte of the whole image, with the foreground color."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from clearcut.imaging.compiled.image_measures import load_measures
from clearcut.imaging.types import F32, U8, Box, DecodedImage, EdgeModel, Matte, MatteOptions, RawMatte

from .confidence import estimate_iou, matte_facts
from .edge_band import Strips, strips_of
from .foreground import estimate_foreground_inplace, foreground_strips
from .guided_filter import upsample
from .plain.matte import plain_matte

_measures = load_measures()
DEFAULT_OPTIONS = MatteOptions(despill=True, plain_background=True)
_BOX_LEVEL = 10
"""Lowest alpha of a pixel inside the bounding box."""
_BOX_ROWS = 64
"""Rows of a strip in the search for the bounding box, unless the caller has strips."""
_MIN_PEAK = 0.5
_MIN_AREA = 3e-4
"""Share of the values that must reach ``_MIN_PEAK`` for a subject; less is noise."""
_TRANSPARENT_BORDER = 0.9
"""Share of the border that is transparent if the background is."""
_AMBIGUOUS = (26, 229)
"""Levels between 0.1 and 0.9 of 255."""
_AMBIGUOUS_BYTES = 1 << 18
"""Bytes of alpha that are compared with these levels at a time; the result stays in the CPU cache."""


def refine(
    raw: RawMatte,
    image: DecodedImage,
    edge_model: EdgeModel | None = None,
    options: MatteOptions = DEFAULT_OPTIONS,
    *,
    in_place: bool = False,
) -> Matte:
    """Return the matte at the size of the image.

    Without a subject, alpha is 0 everywhere, ``box`` is None and ``confidence`` is 0; the matte is not rescaled to
    0..1.

    Args:
        raw: the network's output for the whole image, f32[h,w] in 0..1 of any size.
        edge_model: corrects the edges of the matte.
        options: an image without a plain background has the same matte with and without ``plain_background``.
        in_place: the pixels of ``image`` become the foreground, which avoids a copy. They change only where alpha is
            neither 0 nor 255.
    """
    use_plain = options.plain_background
    if use_plain and image.alpha is not None and has_transparent_border(image.alpha):
        # In front of a transparent background, opaque pixels are subject.
        opaque = np.full((image.height, image.width), 255, np.uint8)
        return replace(finish_matte(opaque, image, 1.0, despill=options.despill), plain_background=True)
    plain = plain_matte(raw.values, image.rgb, edge_model) if use_plain and image.alpha is None else None
    if plain is None and not has_subject(raw.values):
        alpha = np.zeros((image.height, image.width), np.uint8)
        return Matte(alpha=alpha, foreground=image.rgb, box=None, confidence=0.0, ambiguous_ratio=0.0)
    rgb = image.rgb
    if options.despill and not (in_place and image.alpha is None and rgb.flags.writeable):
        rgb = rgb.copy()  # it also replaces the image as the guide, because it is in the CPU cache
    alpha = upsample(raw.values, rgb, edge_model) if plain is None else plain
    found = plain is not None
    confidence = estimate_iou(matte_facts(raw.values, alpha, image.rgb, plain_background=found))
    return replace(finish_matte(alpha, image, confidence, rgb, despill=options.despill), plain_background=found)


def finish_matte(
    alpha: U8, image: DecodedImage, confidence: float, rgb: U8 | None = None, *, despill: bool = True
) -> Matte:
    """Complete a matte from an ``alpha`` (u8[H,W]) of the image's size, from the network or from the caller.

    For transparent input the lower of both alphas is used, so repeated processing does not fade edges. Its colors are
    kept where it is transparent, because they are straight already.

    Args:
        rgb: the image's pixels, which become the foreground; None makes a copy.
        despill: remove the background's color from soft edges.
    """
    if image.alpha is not None:
        alpha = np.asarray(cv2.min(alpha, image.alpha), np.uint8)
    strips = foreground_strips(alpha)
    box = subject_box(alpha, strips)
    foreground = image.rgb
    if despill and box is not None:
        foreground = image.rgb.copy() if rgb is None else rgb
        estimate_foreground_inplace(foreground, alpha, strips)
        if image.alpha is not None:
            cv2.copyTo(image.rgb, cv2.inRange(image.alpha, 0, 254), foreground)
    ambiguous = 0
    if box is not None:  # outside the box no alpha reaches 0.1
        ambiguous = ambiguous_pixels(alpha[box.top : box.bottom, box.left : box.right])
    return Matte(
        alpha=alpha if box is not None else np.zeros_like(alpha),
        foreground=foreground,
        box=box,
        confidence=confidence if box is not None else 0.0,
        ambiguous_ratio=ambiguous / alpha.size,
    )


def has_subject(values: F32) -> bool:
    """Return whether enough of ``values`` (f32[h,w] in 0..1) is high enough to be a subject."""
    if float(values.max(initial=0.0)) < _MIN_PEAK:
        return False
    return int(np.count_nonzero(values >= _MIN_PEAK)) >= _MIN_AREA * values.size


def has_transparent_border(alpha: U8) -> bool:
    """Return whether nearly all of the border of an input's ``alpha`` (u8[H,W]) is transparent."""
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    return int(np.count_nonzero(border < _BOX_LEVEL)) >= _TRANSPARENT_BORDER * border.size


def subject_box(alpha: U8, strips: Strips | None = None) -> Box | None:
    """Return the bounding box of alpha >= 10, or None.

    Args:
        strips: strips of ``alpha`` (u8[H,W]) of any height, if the caller has them.
    """
    # The columns of all strips are searched first, then the rows of the outermost strips.
    rows, highest, _ = strips or strips_of(alpha, _BOX_ROWS)
    inside = highest >= _BOX_LEVEL
    columns, occupied = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    if not occupied.size:
        return None
    left, right = int(columns[0]), int(columns[-1])
    first, last = (int(each) * rows for each in occupied[[0, -1]])
    top, bottom = (
        begin + int(np.flatnonzero(alpha[begin : begin + rows].max(axis=1) >= _BOX_LEVEL)[which])
        for begin, which in ((first, 0), (last, -1))
    )
    return Box(left, top, right - left + 1, bottom - top + 1)


def ambiguous_pixels(alpha: U8) -> int:
    """Count the pixels of ``alpha`` (u8[h,w]) between 0.1 and 0.9."""
    if _measures is not None and alpha[:1].flags.c_contiguous:
        return _measures.count_between(alpha, *_AMBIGUOUS)
    if not alpha.size:
        return 0
    rows = max(1, _AMBIGUOUS_BYTES // max(1, alpha.shape[1]))
    return sum(
        cv2.countNonZero(cv2.inRange(alpha[top : top + rows], *_AMBIGUOUS)) for top in range(0, len(alpha), rows)
    )
