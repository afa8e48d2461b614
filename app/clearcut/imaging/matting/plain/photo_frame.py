"""Photos inside a plain frame, such as a black border: the frame is not the background of their subject."""

from __future__ import annotations

import numpy as np

from clearcut.imaging.matting.confidence import certainty
from clearcut.imaging.matting.edge_band import Mask, Span
from clearcut.imaging.types import F32, U8

from .background_field import upper_median

_LONG_LINE = 0.4
"""Share of a row or column of the image that differs from the frame in a row or column of the photo."""
_MAX_WIDTH = 0.12
"""Maximum width of a frame as a share of the mean side of the image; a product has more background around it. Letterbox
bars may have any width: the photo touches the two borders between them."""
_MIN_FILL = 0.7
"""Minimum share of the photo that differs from the frame: dark parts can equal a black frame."""
_MIN_EDGE, _MIN_SIDE = 0.75, 0.5
"""Minimum share of the photo's sides that are sharp edges: mean of all sides, and each side."""
_MIN_CELLS = 8
"""Minimum width and height of the photo in cells: the sides are examined to this depth."""
_SOFT = 0.5
"""Minimum difference from the frame at a side of the photo, as a share of the difference four cells further inside. The
shadow of a cover differs less."""
_MAX_FOUND, _MAX_FOUND_EDGE = 0.85, 0.7
"""Maximum share of the photo, and of its sides, in the network's matte. Of a box or cover the network finds more."""
_MIN_CERTAINTY = 0.75
"""Minimum certainty of the network, 0..1."""
_LIGHT = 128
"""Darkest channel, in levels, from which a border is light. It can be the backdrop of a product."""
_RIM_TOLERANCE = 32
"""Maximum difference, in levels, of a cell in a rim of one color from the median of the rim's side."""
_RIM_SHARE, _INNER_SHARE = 0.9, 0.5
"""Share of a line of cells that has the color of the rim: minimum in the rim, and maximum inside it."""
_MAX_RIM = 0.2
"""Maximum width of a rim as a share of the photo's shorter side."""


def is_framed_photo(
    differs: Mask, sharp: Mask, cells: U8, background: F32, net: F32, part: Span, shape: tuple[int, ...]
) -> bool:
    """Return whether the cells that differ from the border are a rectangular photo with a smaller subject inside.

    A rim of one color on all sides is the frame of a print. A light border is less often a frame: there the photo must
    have a border on all sides.

    Args:
        differs: cells of a part of the grid that are not connected background, bool[h,w]; outside it there are none.
        sharp: cells at edges of the image, bool[h,w].
        cells: colors of the part, u8[h,w,3].
        background: the border's color, f32[h,w,3] in levels.
        net: the network's matte of the part, f32[h,w] in 0..1.
        part: the place of the part on the whole grid of ``shape`` cells.
    """
    height, width = shape[:2]
    rows = np.flatnonzero(np.count_nonzero(differs, axis=1) > _LONG_LINE * width)
    columns = np.flatnonzero(np.count_nonzero(differs, axis=0) > _LONG_LINE * height)
    if not rows.size or not columns.size:
        return False
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    if min(bottom - top, right - left) < _MIN_CELLS:
        return False
    margins = part.top + top, height - part.top - bottom, part.left + left, width - part.left - right
    photo = slice(top, bottom), slice(left, right)
    if not _is_frame(margins, _MAX_WIDTH * (height + width) / 2) or differs[photo].mean() < _MIN_FILL:
        return False
    inner = [margin > 1 for margin in margins]
    is_light = bool(background.mean(axis=(0, 1)).min() > _LIGHT)
    if (is_light and not all(inner)) or _has_rim(cells[photo], straight=not is_light):
        return False
    in_matte = net[photo] > 0.5
    surroundings = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    edges = np.array([side[:3].any(axis=0).mean() for side in _sides((sharp & differs)[surroundings])])[inner]
    distance = np.abs(cells[photo] - background[photo]).max(axis=2)
    is_soft = [side[:3].mean() < _SOFT * side[4:8].mean() for side in _sides(distance)]
    edges_in_matte = np.array([side[:3].all(axis=0).mean() for side in _sides(in_matte)])[inner]
    return bool(
        edges.mean() >= _MIN_EDGE
        and edges.min() >= _MIN_SIDE
        and not np.any(is_soft, where=inner)
        and in_matte.mean() <= _MAX_FOUND
        and edges_in_matte.mean() <= _MAX_FOUND_EDGE
        and certainty(net) >= _MIN_CERTAINTY
    )


def _is_frame(margins: tuple[int, int, int, int], max_width: float) -> bool:
    """Return whether margins (top, bottom, left, right, in cells) are narrow, or bars on two opposite sides."""
    if sum(margin > 1 for margin in margins) < 2:
        return False
    vertical, horizontal = max(margins[:2]), max(margins[2:])
    return min(vertical, horizontal) <= 1 or max(vertical, horizontal) <= max_width


def _has_rim(photo: U8, *, straight: bool) -> bool:
    """Return whether each side of ``photo`` (u8[h,w,3]) has a rim of one color, such as the frame of a print.

    Args:
        straight: whether the inner sides of the rim must be straight. A plain area around a subject has other sides.
    """
    depth = max(3, round(_MAX_RIM * min(photo.shape[:2])))
    for side in _sides(photo):
        lines = side[:depth].astype(np.float32)
        color = upper_median(lines[1].T)  # the outermost line is mixed with the background
        shares = (np.abs(lines - color).max(axis=2) < _RIM_TOLERANCE).mean(axis=1)
        if shares[1] < _RIM_SHARE or shares[2:].min() > _INNER_SHARE:
            return False
        end = int(np.argmax(shares[1:] < _RIM_SHARE)) + 1
        if straight and shares[end : end + 3].min() > _INNER_SHARE:
            return False
    return True


def _sides(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return ``plane`` as lines from each side inward: top, bottom, left, right."""
    columns = plane.swapaxes(0, 1)
    return plane, plane[::-1], columns, columns[::-1]
