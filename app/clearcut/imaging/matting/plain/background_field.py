"""A plain background as a smooth field of colors, fitted to the border of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.ma  # np.median loads it at its first call, which fails without a free file descriptor
import numpy.typing as npt

from clearcut.imaging.compiled.image_measures import BorderLimits, load_measures
from clearcut.imaging.matting.edge_band import Span
from clearcut.imaging.types import F32, U8

F64 = npt.NDArray[np.float64]

_MIN_SIDE = 24
"""Shortest side in pixels of an image that is examined."""
_SAMPLES = 80
"""Samples of a line of border pixels; at most twice as many are taken."""
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

_BORDER_LIMITS = BorderLimits(_SAMPLES, _MAX_RUNS, _START, _MAX_NOISE, _MIN_SHARE, _SCALES, tuple(_RIDGE))
_measures = load_measures()


@dataclass(frozen=True, slots=True)
class ColorField:
    """Colors that are a quadratic function of the place, and their noise."""

    coefficients: F64
    """Of 1, x, y, x * x, x * y and y * y, with x and y from -1 to 1 across the frame: f64[6,3] in levels."""
    noise: float
    """Standard deviation of the border's pixels around the field, in levels."""
    share: float
    """Share of the border that the field explains, 0..1."""

    def at(self, height: int, width: int, every: int = 1) -> F32:
        """Return the colors at the centers of every n-th cell of a grid of ``height`` x ``width``, f32[h,w,3]."""
        x, y = (_centers(side)[: side // every * every : every].astype(np.float64) for side in (width, height))
        # Columns: 1, x, x * x. np.stack is slower.
        columns = np.ones((len(x), 3))
        columns[:, 1] = x
        columns[:, 2] = x * x
        # The same for y: 1, y, y * y.
        rows = np.ones((len(y), 3))
        rows[:, 1] = y
        rows[:, 2] = y * y
        # table[i, j] is the coefficient of x**i * y**j.
        table = np.zeros((3, 3, 3))
        table[0, 0], table[1, 0], table[0, 1] = self.coefficients[:3]
        table[2, 0], table[1, 1], table[0, 2] = self.coefficients[3:]
        lines = (columns @ table.reshape(3, 9)).reshape(-1, 3, 3).transpose(1, 0, 2).reshape(3, -1).astype(np.float32)
        return np.asarray(rows.astype(np.float32) @ lines, np.float32).reshape(len(y), len(x), 3)

    def within(self, area: Span, height: int, width: int) -> ColorField:
        """Return the field of the pixels in ``area`` of an image of ``height`` x ``width`` pixels."""
        # x = a + b * u and y = c + d * v, with u and v from -1 to 1 across the area.
        a, b = (area.left + area.right) / width - 1, (area.right - area.left) / width
        c, d = (area.top + area.bottom) / height - 1, (area.bottom - area.top) / height
        change = np.array(
            [
                [1, a, c, a * a, a * c, c * c],
                [0, b, 0, 2 * a * b, b * c, 0],
                [0, 0, d, 0, a * d, 2 * c * d],
                [0, 0, 0, b * b, 0, 0],
                [0, 0, 0, 0, b * d, 0],
                [0, 0, 0, 0, 0, d * d],
            ]
        )
        return replace(self, coefficients=change @ self.coefficients)


def border_field(rgb: U8) -> ColorField | None:
    """Return the field of ``rgb`` (u8[H,W,3]) if its border is plain, else None.

    Gradients, vignettes and the noise of cameras and JPEG are plain, textures are not. A subject may cover up to two
    fifths of the border.
    """
    height, width = rgb.shape[:2]
    if min(height, width) < _MIN_SIDE:
        return None
    if _measures is not None and rgb[:1].flags.c_contiguous:
        found = _measures.border_field(rgb, _BORDER_LIMITS)
        return None if found is None else ColorField(*found)
    places, colors, sides = _border_samples(rgb)
    coefficients = np.zeros((6, 3))
    coefficients[0] = _common_color(colors, sides)
    basis = _basis(*places)
    deviation = colors - coefficients.T @ basis
    for scale in _SCALES:
        residual = np.abs(deviation).max(axis=0)
        coefficients = _solve(basis, colors, 1 / (1 + (residual / scale) ** 2) ** 2)
        deviation = colors - coefficients.T @ basis
    residual = np.abs(deviation).max(axis=0)
    near = residual < 3 * _SCALES[-1]
    if near.mean() < _MIN_SHARE:
        return None
    noise = 1.4826 * float(upper_median(np.abs(deviation[:, near]).reshape(-1)))
    share = float((residual < max(4.0, 4 * noise)).mean())
    if noise > _MAX_NOISE or share < _MIN_SHARE or _interruptions(residual < max(4.0, 4 * noise), sides) > _MAX_RUNS:
        return None
    return ColorField(coefficients, noise, share)


def refit(
    field: ColorField, cells: U8, background: npt.NDArray[np.bool_], every: int = 1, samples: int = 1000
) -> ColorField:
    """Return the field fitted to the background of ``cells`` (u8[h,w,3]), or ``field`` without enough of it.

    Args:
        background: of every n-th cell, bool[h/n,w/n].
    """
    height, width = cells.shape[:2]
    places = np.flatnonzero(background)
    if len(places) * every * every < 200:
        return field
    rows, columns = (each * every for each in np.divmod(places[:: max(1, len(places) // samples)], background.shape[1]))
    basis = _basis(_centers(width)[columns], _centers(height)[rows])
    coefficients = _solve(basis, cells[rows, columns].T.astype(np.float64), np.ones(len(rows)))
    return ColorField(coefficients, field.noise, field.share)


def _border_samples(rgb: U8) -> tuple[F64, F64, npt.NDArray[np.int64]]:
    """Return places f64[2,N] (x, y), colors f64[3,N] and the number of the side of each sample."""
    places, colors, counts = [], [], []
    for lines, mirrored in ((rgb, False), (rgb.transpose(1, 0, 2), True)):
        depth, length = lines.shape[:2]
        at = np.arange(0, length, max(1, length // _SAMPLES))
        along, across = _centers(length)[at], _centers(depth)
        for rows in (slice(None, _LINES), slice(None, -_LINES - 1, -1)):
            colors.append(lines[rows, at].reshape(-1, 3))
            grid = np.empty((2, _LINES, len(at)))
            grid[int(mirrored)], grid[int(not mirrored)] = along, across[rows, None]
            places.append(grid.reshape(2, -1))
            counts.append(_LINES * len(at))
    colors_by_channel = np.ascontiguousarray(np.concatenate(colors).T, np.float64)
    return np.concatenate(places, axis=1), colors_by_channel, np.repeat(np.arange(4), counts)


def _common_color(colors: F64, sides: npt.NDArray[np.int64]) -> F64:
    """Return the median color of the border or of one side that most samples are close to."""
    candidates = [upper_median(colors)] + [upper_median(colors[:, sides == side]) for side in range(4)]
    support = [int((np.abs(colors - each[:, None]).max(axis=0) < _START).sum()) for each in candidates]
    return np.asarray(candidates[int(np.argmax(support))], np.float64)


def upper_median(values: np.ndarray) -> F64:
    """Return the upper median along the last axis; ``np.median`` takes four times as long."""
    middle = values.shape[-1] // 2
    return np.asarray(np.partition(values, middle)[..., middle], np.float64)


def _interruptions(plain: npt.NDArray[np.bool_], sides: npt.NDArray[np.int64]) -> int:
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
    """Return 1, x, y, x * x, x * y and y * y at N places, f64[6,N]."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]).astype(np.float64)


def _solve(basis: F64, colors: F64, weights: F64) -> F64:
    """Return the weighted least-squares coefficients f64[6,3] of ``colors`` f64[3,N]."""
    weighted = basis * weights
    normal = weighted @ basis.T + np.diag(_RIDGE * weights.sum() + 1e-9)
    return np.asarray(np.linalg.solve(normal, weighted @ colors.T), np.float64)
