"""The compiled functions for values of grid cells (``grid_cells.c``).

They compute the same as the OpenCV calls in ``guided_filter`` and ``foreground``, without intermediate planes.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clearcut.imaging.compiled import declare, load_library, require_array
from clearcut.imaging.types import F32, U8

_LIBRARY = Path(__file__).with_name("grid_cells.so")
_VERSION = 1
"""``grid_cells_version`` in ``grid_cells.c``. Increase both if an argument or the meaning of a function changes."""


class Regularization(ctypes.Structure):
    """``Regularization`` in ``grid_cells.c``."""

    _fields_ = (("epsilon", ctypes.c_float), ("gain", ctypes.c_float))


class _Part(ctypes.Structure):
    """``Part`` in ``grid_cells.c``."""

    _fields_ = (
        ("rgb", ctypes.c_void_p),
        ("alpha", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rgb_step", "alpha_step", "height", "width", "top", "left")),
    )


class _Weighting(ctypes.Structure):
    """``Weighting`` in ``grid_cells.c``."""

    _fields_ = (
        ("near", ctypes.c_int64),
        ("far", ctypes.c_int64),
        ("far_share", ctypes.c_float),
        ("least", ctypes.c_float),
        ("weights", ctypes.c_void_p),
        ("far_weights", ctypes.c_void_p),
    )


class CorrectionLimits(ctypes.Structure):
    """``CorrectionLimits`` in ``grid_cells.c``."""

    _fields_ = (
        ("balance", ctypes.c_int64),
        ("r_squared", ctypes.c_int64),
        *((name, ctypes.c_float) for name in ("least", "low", "high")),
    )


class Windows(NamedTuple):
    """The windows of the foreground estimation and the weights of their cells."""

    near: int
    """Radius in cells, 1 or 2."""
    far: int
    """Radius in blocks of 2 x 2 cells, at most 5."""
    far_share: float
    least: float
    """Least weight of a cell in the second pass."""
    weights: F32
    """Of a cell as subject by its alpha, f32[256]."""
    far_weights: U8
    """The same for the far window, in 1/255."""


class CompiledCells:
    """The functions of the library. They release the GIL, and several threads may call them at once."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        plane, pointers = (pointer, size), (pointer, pointer, pointer)
        sources, shape = (*plane, *plane, *plane), (size, size)
        self._fit = declare(library.fit_cells, None, *sources, *shape, Regularization, *plane, *plane, *pointers)
        self._fit_floats = declare(library.fit_cells_floats, size, *shape)
        self._classify = declare(
            library.classify_cells, None, *plane, pointer, *shape, ctypes.c_float, *plane, *plane, pointer
        )
        self._limit = declare(library.limit_correction, None, *sources, *shape, *pointers)
        self._limit_floats = declare(library.limit_correction_floats, size, *shape, size)
        self._colors = declare(library.cell_colors, None, *pointers, size, pointer, pointer, size, pointer)
        self._colors_floats = declare(library.cell_colors_floats, size, *shape, size, size, size)

    def fit(
        self, guide: U8, target: F32, edge: U8, regularization: Regularization, slope: F32, offset: F32
    ) -> tuple[F32, F32]:
        """Write the coefficients of a guided fit where ``edge`` (u8[h,w]) is 1; see ``guided_filter.fit_at_edge``.

        Args:
            guide: u8[h,w,3].
            target: f32[h,w].
            slope: f32[h,w,3]; ``offset`` f32[h,w]. All arrays may be parts of larger ones.
        """
        height, width = target.shape
        require_array(guide, np.uint8, (height, width, 3))
        require_array(target, np.float32, (height, width))
        require_array(edge, np.uint8, (height, width))
        require_array(slope, np.float32, (height, width, 3), is_output=True)
        require_array(offset, np.float32, (height, width), is_output=True)
        level = np.empty((height, width), np.float32)
        r_squared = np.empty((-(-height // 2), -(-width // 2)), np.float32)
        memory = np.empty(self._fit_floats(height, width), np.float32)
        sources = *_plane(guide), *_plane(target), *_plane(edge)
        results = *_plane(slope), *_plane(offset), level.ctypes.data, r_squared.ctypes.data
        self._fit(*sources, height, width, regularization, *results, memory.ctypes.data)
        return level, r_squared

    def classify(
        self, slope: F32, level: F32, contrast: float, opaque: npt.NDArray[np.bool_], mixed: npt.NDArray[np.bool_]
    ) -> None:
        """Write which cells are opaque, and which of the others can have pixels with alpha above 0, bool[h,w] each.

        Args:
            slope: f32[h,w,3].
            level: contiguous f32[h,w].
            contrast: maximum difference of a pixel from its cell, in levels per channel.
        """
        height, width = level.shape
        require_array(slope, np.float32, (height, width, 3))
        require_array(level, np.float32, (height, width))
        require_array(opaque, np.bool_, (height, width), is_output=True)
        require_array(mixed, np.bool_, (height, width), is_output=True)
        level = np.ascontiguousarray(level)
        flags = np.empty(8 * width, np.uint8)
        results = *_plane(opaque), *_plane(mixed), flags.ctypes.data
        self._classify(*_plane(slope), level.ctypes.data, height, width, contrast, *results)

    def limit_correction(self, correction: F32, edge: U8, r_squared: F32, limits: CorrectionLimits) -> F32:
        """Return the correction of the edge model to use, f32[h,w] in 0..255; see ``edge_correction``.

        Args:
            correction: f32[h,w] in 0..1.
            edge: u8[h,w] of 0 or 1.
            r_squared: f32 for each block of 2 x 2 cells.
        """
        height, width = edge.shape
        require_array(correction, np.float32, (height, width))
        require_array(edge, np.uint8, (height, width))
        require_array(r_squared, np.float32, (-(-height // 2), -(-width // 2)))
        result = np.empty((height, width), np.float32)
        memory = np.empty(self._limit_floats(height, width, max(limits.balance, limits.r_squared)), np.float32)
        sources = *_plane(correction), *_plane(edge), *_plane(r_squared)
        self._limit(*sources, height, width, ctypes.byref(limits), result.ctypes.data, memory.ctypes.data)
        return result

    def colors(
        self, rgb: U8, alpha: U8, origin: tuple[int, int], places: npt.NDArray[np.int64], windows: Windows
    ) -> tuple[F32, F32]:
        """Return the subject's color and its difference from the background's, sheets f32[h,w,3] of cells each.

        Args:
            rgb: u8[h,w,3], a part of the grid; ``alpha`` u8[h,w].
            origin: row and column of its first cell.
            places: spans and their places on the sheets; see ``TileSet.places``.
        """
        height, width = alpha.shape
        require_array(rgb, np.uint8, (height, width, 3))
        require_array(alpha, np.uint8, (height, width))
        rows, columns = places[:, 1] - places[:, 0], places[:, 3] - places[:, 2]
        sheet = int(rows.max()) + 2, int((places[:, 5] + columns).max()) + 2, 3
        border = 2 * (2 * windows.near + 1)
        largest = int(((rows + border) * (columns + border)).max()), int(columns.max()) + border
        memory = np.empty(self._colors_floats(height, width, windows.far, *largest), np.float32)
        subject, excess = np.empty(sheet, np.float32), np.empty(sheet, np.float32)
        part = _Part(rgb.ctypes.data, alpha.ctypes.data, rgb.strides[0], alpha.strides[0], height, width, *origin)
        weights, far_weights = windows.weights.ctypes.data, windows.far_weights.ctypes.data
        weighting = _Weighting(windows.near, windows.far, windows.far_share, windows.least, weights, far_weights)
        spans = places.ctypes.data, len(places)
        results = subject.ctypes.data, excess.ctypes.data, 3 * sheet[1], memory.ctypes.data
        self._colors(ctypes.byref(part), ctypes.byref(weighting), *spans, *results)
        return subject, excess


def load_compiled_cells(path: Path = _LIBRARY) -> CompiledCells | None:
    """Load the library; None if it is not compiled, has another version or no such functions, or cannot be loaded."""
    return load_library(path, _VERSION, CompiledCells)


def _plane(values: np.ndarray) -> tuple[int, int]:
    """Return the place of an array in memory and the number of values from row to row."""
    return values.ctypes.data, values.strides[0] // values.itemsize
