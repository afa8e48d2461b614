"""The coarse grid of cells: its size, and sampling of images and mattes on it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8

from .edge_band import Span

_LONG_SIDE, _SHORT_SIDE = 220, 64
"""Minimum cells along the longer and the shorter side, if the image has enough pixels."""
_MAX_CELLS = 40_000
"""Number of cells beyond which the shorter side gets fewer than ``_SHORT_SIDE``: in a long image, cells must be wide
enough to span the blur of the network along the longer side."""
_VALUES_PER_CELL = 2
"""Maximum values of the network along the side of a cell. More lose detail of a network of 1,024 values
(``benchmarks/finishing.py``)."""


def grid_step(height: int, width: int, values: int = 0) -> int:
    """Return the side of a cell in pixels.

    Args:
        values: side of the network's output, if there is one.
    """
    longer, shorter = max(height, width), min(height, width)
    across_shorter = max(shorter // _SHORT_SIDE, math.isqrt(height * width // _MAX_CELLS))
    return max(1, min(longer // max(_LONG_SIDE, values // _VALUES_PER_CELL), across_shorter, shorter))


def to_cells(plane: U8, step: int) -> U8:
    """Reduce ``plane``, u8[h,w] or u8[h,w,c], to ceil(h / step) x ceil(w / step) cells; ``step`` <= h and w.

    A cell is the mean of its pixels; from step 4 on, of samples at fixed places, because reading every pixel of a large
    image is expensive. At 12 megapixels, cells have 18 pixels and four pixels between samples are not read. A cell
    that extends past the frame repeats its neighbor.
    """
    if step < 4:
        return _resize_to_cells(plane, step, cv2.INTER_AREA)
    height, width = plane.shape[:2]
    rows, columns = height // step, width // step
    whole = plane[: rows * step, : columns * step]
    side = 2 if step < 6 else 3
    samples = cv2.resize(whole, (side * columns, side * rows), interpolation=cv2.INTER_LINEAR)
    cells = cv2.resize(samples, (columns, rows), interpolation=cv2.INTER_AREA)
    return _pad_to_cells(np.asarray(cells, np.uint8), step, height, width)


def cell_centers(plane: U8, step: int) -> U8:
    """Reduce like ``to_cells``, but from step 4 on to the one or four pixels in the middle of each cell.

    Foreground estimation needs alpha and color of the same place. A guided fit to centers would lose parts thinner than
    a cell: a third of the alpha of a strap of 9 pixels at 12 megapixels.
    """
    if step < 4:
        return _resize_to_cells(plane, step, cv2.INTER_AREA)
    return _resize_to_cells(plane, step, cv2.INTER_NEAREST_EXACT if step % 2 else cv2.INTER_LINEAR)


def sample_at_cells(values: F32, step: int, height: int, width: int, *, sharp: bool = True) -> F32:
    """Sample ``values`` (f32[h,w]) at the cell centers of an image of ``height`` x ``width`` pixels.

    Values are averaged in groups along a side where a cell covers n values, and then interpolated. Cells with their
    center past the frame repeat their neighbor.

    Args:
        sharp: groups of int(n / 1.5) values, which blur the matte less; otherwise of int(n).
    """
    # Scaling by factors, not to a size, because a size would stretch the values over cells that extend past the frame.
    scale_x, scale_y = width / (step * values.shape[1]), height / (step * values.shape[0])
    across, down = (max(1, int(1 / (scale * (1.5 if sharp else 1)))) for scale in (scale_x, scale_y))
    if across * down > 1:  # OpenCV reduces by whole factors ten times faster than by other factors
        values = np.asarray(cv2.resize(values, None, fx=1 / across, fy=1 / down, interpolation=cv2.INTER_AREA))
    cells = cv2.resize(values, None, fx=scale_x * across, fy=scale_y * down, interpolation=cv2.INTER_LINEAR)
    below, right = -(-height // step) - cells.shape[0], -(-width // step) - cells.shape[1]
    return np.asarray(cv2.copyMakeBorder(cells, 0, below, 0, right, cv2.BORDER_REPLICATE), np.float32)


def sample_area_at_cells(values: F32, area: Span, step: int, height: int, width: int) -> F32:
    """Sample ``values`` (f32[h,w]) at the cell centers of an area of an image of ``height`` x ``width`` pixels.

    Args:
        area: in pixels.
    """
    rows, columns = -(-(area.bottom - area.top) // step), -(-(area.right - area.left) // step)
    x, y = values.shape[1] / width, values.shape[0] / height
    x_range, y_range = (
        (step * per_pixel, (start + step / 2) * per_pixel - 0.5) for start, per_pixel in ((area.left, x), (area.top, y))
    )
    return sample_grid(values, x_range, y_range, rows, columns)


def sample_grid(values: F32, x: tuple[float, float], y: tuple[float, float], rows: int, columns: int) -> F32:
    """Return f32[rows,columns] with linear samples of ``values`` (f32[h,w]).

    Args:
        x: scale and offset from a column of the result to one of ``values``; ``y``: the same for rows.
    """
    matrix = np.array([[x[0], 0, x[1]], [0, y[0], y[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    samples = cv2.warpAffine(values, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(samples, np.float32)


def _resize_to_cells(plane: U8, step: int, interpolation: int) -> U8:
    if step == 1:
        return plane
    height, width = plane.shape[:2]
    rows, columns = height // step, width // step
    cells = cv2.resize(plane[: rows * step, : columns * step], (columns, rows), interpolation=interpolation)
    return _pad_to_cells(np.asarray(cells, np.uint8), step, height, width)


def _pad_to_cells(cells: U8, step: int, height: int, width: int) -> U8:
    """Append the cells that extend past the frame, equal to their neighbors."""
    below, right = -(-height // step) - cells.shape[0], -(-width // step) - cells.shape[1]
    return np.asarray(cv2.copyMakeBorder(cells, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
