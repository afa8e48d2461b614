"""A plain background as a smooth field of colors, fitted to the border of an image."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.ma  # np.median in plain_regions loads it at its first call, which fails without a free file descriptor
import numpy.typing as npt

from clearcut.imaging.types import F32, U8

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_MIN_SIDE = 24
"""Shortest side in pixels of an image that is examined."""
_SAMPLES = 80
"""Maximum samples of a line of border pixels."""
_LINES = 2
"""Outermost rows and columns that are sampled."""
_START = 16.0
"""Levels within which samples support a constant color, the start of the fit."""
_SCALES = 30.0, 15.0, 8.0, 5.0
"""Residuals, in levels, at which a sample has a quarter of its weight, by iteration."""
_MAX_NOISE = 5.0
"""Standard deviation in levels above which a border is a texture (``benchmarks/plain.py``)."""
_MIN_SHARE = 0.6
"""Share of the border that the field must explain (``benchmarks/plain.py``)."""
_MAX_RUNS = 5
"""Maximum interruptions of the background along the border: more are a pattern."""
_RIDGE = np.array([0.0, 1e-3, 1e-3, 2e-3, 2e-3, 2e-3])
"""Penalties of the coefficients relative to the samples: the interior is extrapolated from the border."""


@dataclass(frozen=True, slots=True)
class ColorField:
    """Colors that are a quadratic function of the place, and their noise."""

    coefficients: F64
    """Of 1, x, y, x * x, x * y and y * y, with x and y from -1 to 1 across the frame: f64[6,3] in levels."""
    noise: float
    """Standard deviation of the border's pixels around the field, in levels."""
    share: float
    """Share of the border that the field explains, 0..1."""

    def at(self, height: int, width: int) -> F32:
        """Return the colors at the centers of a grid of ``height`` x ``width`` cells, f32[h,w,3]."""
        ones = np.ones(width)
        x, y = _centers(width).astype(np.float64), _centers(height).astype(np.float64)
        # Of 1, x and x * x; the coefficients of each row are those of 1, y and y * y.
        rows = np.stack([np.ones(height), y, y * y], axis=1)
        c, zero = self.coefficients, np.zeros(3)
        table = np.stack([np.stack([c[0], c[1], c[3]]), np.stack([c[2], c[4], zero]), np.stack([c[5], zero, zero])])
        columns = np.einsum("jic,wi->jwc", table, np.stack([ones, x, x * x], axis=1)).reshape(3, -1)
        return np.asarray(rows.astype(np.float32) @ columns.astype(np.float32), np.float32).reshape(height, width, 3)


def border_field(rgb: U8) -> ColorField | None:
    """Return the field of ``rgb`` (u8[H,W,3]) if its border is plain, else None.

    Gradients, vignettes and the noise of cameras and JPEG are plain, textures are not. A subject may cover up to two
    fifths of the border.
    """
    height, width = rgb.shape[:2]
    if min(height, width) < _MIN_SIDE:
        return None
    rows, columns, sides, basis = _border_places(height, width)
    colors = rgb[rows, columns].astype(np.float64)
    coefficients = np.zeros((6, 3))
    coefficients[0] = _common_color(colors, sides)
    for scale in _SCALES:
        residual = np.abs(colors - basis @ coefficients).max(axis=1)
        coefficients = _solve(basis, colors, 1 / (1 + (residual / scale) ** 2) ** 2)
    deviation = colors - basis @ coefficients
    residual = np.abs(deviation).max(axis=1)
    near = residual < 3 * _SCALES[-1]
    if near.mean() < _MIN_SHARE:
        return None
    noise = 1.4826 * float(_median(np.abs(deviation[near]).reshape(-1)))
    share = float((residual < max(4.0, 4 * noise)).mean())
    if noise > _MAX_NOISE or share < _MIN_SHARE or _interruptions(residual < max(4.0, 4 * noise), sides) > _MAX_RUNS:
        return None
    return ColorField(coefficients, noise, share)


def refit(field: ColorField, cells: U8, background: npt.NDArray[np.bool_], samples: int = 1500) -> ColorField:
    """Return the field fitted to the ``background`` (bool[h,w]) of ``cells`` (u8[h,w,3]), or ``field`` without any."""
    height, width = background.shape
    rows, columns = np.nonzero(background)
    if len(rows) < 200:
        return field
    step = max(1, len(rows) // samples)
    rows, columns = rows[::step], columns[::step]
    basis = _basis(_centers(width)[columns], _centers(height)[rows])
    coefficients = _solve(basis, cells[rows, columns].astype(np.float64), np.ones(len(rows)))
    return ColorField(coefficients, field.noise, field.share)


@functools.lru_cache(maxsize=32)
def _border_places(height: int, width: int) -> tuple[I64, I64, I64, F64]:
    """Return the rows, columns and side numbers of the samples, i64[N] each, and the basis of their places, f64[N,6].

    The samples are in the order of the sides.
    """
    rows, columns, sides = [], [], []
    for side in range(4):
        length, depth = (width, height) if side < 2 else (height, width)
        along = np.arange(0, length, max(1, length // _SAMPLES))
        for line in range(_LINES):
            across = np.full(len(along), line if side % 2 == 0 else depth - 1 - line)
            rows.append(across if side < 2 else along)
            columns.append(along if side < 2 else across)
            sides.append(np.full(len(along), side))
    row, column = np.concatenate(rows), np.concatenate(columns)
    x, y = _centers(width)[column].astype(np.float64), _centers(height)[row].astype(np.float64)
    return row, column, np.concatenate(sides), _basis(x, y)


def _common_color(colors: F64, sides: I64) -> F64:
    """Return the median color of the border or of one side that most samples are close to."""
    candidates = [_median(colors)] + [_median(colors[sides == side]) for side in range(4)]
    support = [int((np.abs(colors - each).max(axis=1) < _START).sum()) for each in candidates]
    return np.asarray(candidates[int(np.argmax(support))], np.float64)


def _median(values: F64) -> F64:
    """Return the medians along the first axis; ``np.median`` takes four times as long for some hundred values."""
    ordered = np.sort(values, axis=0)
    middle = len(ordered) // 2
    return np.asarray(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2, np.float64)


def _interruptions(plain: npt.NDArray[np.bool_], sides: I64) -> int:
    """Count the runs of three and more samples, along the outermost lines, that the field does not explain."""
    total = 0
    for side in range(4):
        outer = plain[sides == side]
        outer = outer[: len(outer) // _LINES]
        foreign = np.convolve(~outer, np.ones(3), "same") >= 2
        total += int(np.count_nonzero(np.diff(np.concatenate([[False], foreign]).astype(np.int8)) > 0))
    return total


def _centers(count: int) -> F32:
    return ((np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / count)) - np.float32(1)


def _basis(x: np.ndarray, y: np.ndarray) -> F64:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(np.float64)


def _solve(basis: F64, colors: F64, weights: F64) -> F64:
    """Return the weighted least-squares coefficients f64[6,3]."""
    weighted = basis * weights[:, None]
    normal = weighted.T @ basis + np.diag(_RIDGE * weights.sum() + 1e-9)
    return np.asarray(np.linalg.solve(normal, weighted.T @ colors), np.float64)
