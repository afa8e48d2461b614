"""The grid of cells that a picture's coarse work is done on, and how picture and matte are read on it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8

_GRID_SIDE, _GRID_DEPTH = 220, 64
"""Cells along the longer side of a picture and along the shorter, at least, unless it has fewer pixels."""
_GRID_CELLS = 40_000
"""Of a long picture, beyond which its shorter side gets fewer: cells must be wide enough to reach over what the network
blurs along the longer one.
"""
_VALUES = 2
"""Values of a network along the side of a cell, at most some more: of IS-Net's 1,024, on composites of one and eight
megapixels, the fit on the few cells above left .93 and .89 of bilinear's SAD and 1.20 and 1.34 of its gradient error;
with this .81 and .82, .98 and 1.08.
"""


def grid_step(height: int, width: int, values: int = 0) -> int:
    """Pixels along the side of a cell of the grid that a picture's coarse work is done on.

    ``values``: along the side of a network's answer, if there is one.
    """
    longer, shorter = max(height, width), min(height, width)
    deep = max(shorter // _GRID_DEPTH, math.isqrt(height * width // _GRID_CELLS))
    return max(1, min(longer // max(_GRID_SIDE, values // _VALUES), deep, shorter))


def to_cells(plane: U8, step: int) -> U8:
    """``plane``, u8[h,w] or u8[h,w,c], on a grid of ceil(h / step) x ceil(w / step) cells; ``step`` <= h and w.

    The mean of a cell's pixels; from step 4 on of samples, always at the same places, since reading every pixel of a
    large picture costs as much as half of all that follows. Between the samples of a cell of 18 pixels, as at 12
    megapixels, lie four that are not seen. A cell that is cut by the frame repeats its neighbour.
    """
    if step < 4:
        return _in_whole_cells(plane, step, cv2.INTER_AREA)
    height, width = plane.shape[:2]
    rows, columns = height // step, width // step
    whole = plane[: rows * step, : columns * step]
    side = 2 if step < 6 else 3
    samples = cv2.resize(whole, (side * columns, side * rows), interpolation=cv2.INTER_LINEAR)
    cells = cv2.resize(samples, (columns, rows), interpolation=cv2.INTER_AREA)
    return _continued(np.asarray(cells, np.uint8), step, height, width)


def cell_centers(plane: U8, step: int) -> U8:
    """As ``to_cells``, but from step 4 on what is in a cell's middle, one pixel or four.

    For the colours, where alpha and colour of one and the same place belong together. A fit to the middles alone loses
    what is thinner than a cell: of a strap of 9 pixels at 12 megapixels a third of the alpha.
    """
    if step < 4:
        return _in_whole_cells(plane, step, cv2.INTER_AREA)
    return _in_whole_cells(plane, step, cv2.INTER_NEAREST_EXACT if step % 2 else cv2.INTER_LINEAR)


def sample_at_cells(values: F32, step: int, height: int, width: int) -> F32:
    """``values`` at the centres of the grid's cells, which may hang over the frame at its end.

    Along a side where a cell covers two values or more it has their mean.
    """
    # By factors and not to a size, which would be stretched over cells that hang over the frame. Of those, the ones
    # whose centres lie beyond it are left out.
    across, down = width / (step * values.shape[1]), height / (step * values.shape[0])
    wide, high = (cv2.INTER_AREA if factor <= 0.5 else cv2.INTER_LINEAR for factor in (across, down))
    if wide == high:
        small = cv2.resize(values, None, fx=across, fy=down, interpolation=wide)
    else:  # area means are for shrinking both ways
        small = cv2.resize(values, None, fx=across, fy=1, interpolation=wide)
        small = cv2.resize(small, None, fx=1, fy=down, interpolation=high)
    below, right = -(-height // step) - small.shape[0], -(-width // step) - small.shape[1]
    return np.asarray(cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REPLICATE), np.float32)


def _in_whole_cells(plane: U8, step: int, interpolation: int) -> U8:
    if step == 1:
        return plane
    height, width = plane.shape[:2]
    rows, columns = height // step, width // step
    cells = cv2.resize(plane[: rows * step, : columns * step], (columns, rows), interpolation=interpolation)
    return _continued(np.asarray(cells, np.uint8), step, height, width)


def _continued(cells: U8, step: int, height: int, width: int) -> U8:
    """The cells that the frame cuts, after their neighbours."""
    below, right = -(-height // step) - cells.shape[0], -(-width // step) - cells.shape[1]
    return np.asarray(cv2.copyMakeBorder(cells, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
