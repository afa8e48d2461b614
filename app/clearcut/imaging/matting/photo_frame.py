"""Photos inside a plain frame, such as a black border: the frame is not the background of their subject."""

from __future__ import annotations

import numpy as np

from clearcut.imaging.types import F32

from .confidence import certainty
from .edge_band import Mask, Span

_LONG_LINE = 0.4
"""Share of a row or column of the image that differs from the frame in a row or column of the photo."""
_MAX_WIDTH = 0.12
"""Maximum width of a frame as a share of the mean side of the image. A product has more background around it. Between
two opposite borders that the photo touches, any width counts: those are letterbox bars."""
_MIN_FILL = 0.7
"""Minimum share of the photo that differs from the frame: dark parts can equal a black frame."""
_MIN_EDGE, _MIN_SIDE = 0.75, 0.5
"""Minimum share of the photo's sides that are sharp edges: mean of all sides, and each side."""
_SOFT = 0.5
"""Difference from the frame at a side of the photo, as a share of that four cells further inside, below which the side
is the shadow of a cover."""
_MAX_FOUND, _MAX_FOUND_EDGE = 0.85, 0.7
"""Maximum share of the photo, and of its sides, in the network's matte. It finds more of a box or cover."""
_MIN_CELLS = 8
"""Minimum width and height of the photo in cells: the sides are examined to this depth."""
_MIN_CERTAINTY = 0.75
"""Minimum certainty of the network, 0..1."""


def is_framed_photo(differs: Mask, sharp: Mask, distance: F32, net: F32, part: Span, shape: tuple[int, ...]) -> bool:
    """Return whether the cells that differ from the border are a rectangular photo with a smaller subject inside.

    Args:
        differs: cells of a part of the grid that are not connected background, bool[h,w]; outside it there are none.
        sharp: cells at edges of the image, bool[h,w].
        distance: difference from the border's color, f32[h,w] in levels.
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
    inner = [margin > 1 for margin in margins]
    widest = _MAX_WIDTH * (height + width) / 2
    is_narrow = [max(pair) <= widest or max(pair) <= 1 or max(other) <= 1 for pair, other in _opposite(margins)]
    photo = slice(top, bottom), slice(left, right)
    if sum(inner) < 2 or not all(is_narrow) or differs[photo].mean() < _MIN_FILL:
        return False
    found = net[photo] > 0.5
    around = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    edges = np.array([side[:3].any(axis=0).mean() for side in _sides((sharp & differs)[around])])[inner]
    shades = [side[:3].mean() < _SOFT * side[4:8].mean() for side in _sides(distance[photo])]
    covered = np.array([side[:3].all(axis=0).mean() for side in _sides(found)])[inner]
    return bool(
        edges.mean() >= _MIN_EDGE
        and edges.min() >= _MIN_SIDE
        and not np.any(shades, where=inner)
        and found.mean() <= _MAX_FOUND
        and covered.mean() <= _MAX_FOUND_EDGE
        and certainty(net) >= _MIN_CERTAINTY
    )


def _opposite(margins: tuple[int, int, int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return each pair of opposite margins with the other pair."""
    vertical, horizontal = margins[:2], margins[2:]
    return [(vertical, horizontal), (horizontal, vertical)]


def _sides(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return ``plane`` as lines from each side inward: top, bottom, left, right."""
    return plane, plane[::-1], plane.T, plane.T[::-1]
