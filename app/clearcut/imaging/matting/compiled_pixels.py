"""The compiled functions for the pixels of soft edges (``edge_pixels.c``).

They compute the same as the tiles in ``guided_filter`` and ``foreground``, without intermediate images.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clearcut.imaging.compiled import declare, load_library, require_array
from clearcut.imaging.types import F32, U8

from .edge_band import Span

_LIBRARY = Path(__file__).with_name("edge_pixels.so")
_VERSION = 2
"""``edge_pixels_version`` in ``edge_pixels.c``. Increase both if an argument or the meaning of a function changes."""
_ROW_PIXELS = 512
"""Pixels that are processed together, at least one cell; their interpolated values fit the CPU's first cache."""
_ALPHA_FLOATS, _COLOR_FLOATS = 8, 12
"""Values of two rows of cells that are interpolated for each pixel."""
_CELL_FLOATS = 5
"""Memory of a cell of the matte: four values, and the kinds of two cells."""


class _Grid(ctypes.Structure):
    """``Grid`` in ``edge_pixels.c``."""

    _fields_ = (
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("step", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
    )


class _Sheet(ctypes.Structure):
    """``Sheet`` in ``edge_pixels.c``."""

    _fields_ = (("values", ctypes.c_void_p), ("row_size", ctypes.c_int64))


class _Coefficients(ctypes.Structure):
    """``Coefficients`` in ``edge_pixels.c``."""

    _fields_ = (
        ("slope", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("slope_step", "offset_step", "height", "width")),
    )


class CompiledPixels:
    """The functions of the library. They release the GIL, and several threads may call them at once."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        images = pointer, size, pointer, size
        self._alpha = declare(library.edge_alpha, None, pointer, pointer, size, pointer, *images, pointer)
        self._colors = declare(library.edge_colors, None, pointer, pointer, size, _Sheet, _Sheet, *images, pointer)

    def apply_coefficients(self, slope: F32, offset: F32, spans: Sequence[Span], step: int, rgb: U8, alpha: U8) -> None:
        """Write slope . color + offset, rounded and limited, to the pixels of ``alpha`` (u8[H,W]) in the spans.

        Args:
            slope: f32[h,w,3] on the grid of cells; ``offset`` f32[h,w] likewise.
            step: side of a cell in pixels.
            rgb: u8[H,W,3].

        Raises:
            ValueError: an array has another type or shape or gaps in its rows, or ``alpha`` is read-only.
        """
        height, width = offset.shape
        if slope.shape != (height, width, 3) or height * step < alpha.shape[0] or width * step < alpha.shape[1]:
            raise ValueError("expected coefficients for all cells")
        if slope.dtype != np.float32 or offset.dtype != np.float32 or not has_packed_rows(slope, offset):
            raise ValueError("expected f32 values with packed rows")
        _require_images(rgb, alpha, output=alpha)
        steps = slope.strides[0] // slope.itemsize, offset.strides[0] // offset.itemsize
        coefficients = _Coefficients(slope.ctypes.data, offset.ctypes.data, *steps, height, width)
        places = np.array([(*span, 0, 0) for span in spans], np.int64)
        grid, rows, _weights = _buffers(step, alpha, _ALPHA_FLOATS, _CELL_FLOATS)
        images = rgb.ctypes.data, rgb.strides[0], alpha.ctypes.data, alpha.strides[0]
        places_of = places.ctypes.data, len(places), ctypes.byref(coefficients)
        self._alpha(ctypes.byref(grid), *places_of, *images, rows.ctypes.data)

    def correct_colors(
        self, subject: F32, excess: F32, places: npt.NDArray[np.int64], step: int, rgb: U8, alpha: U8
    ) -> None:
        """Remove the background's share from the soft pixels of ``rgb`` (u8[H,W,3]), in place.

        Args:
            subject: sheet of a tile set with a border of one cell, f32[h,w,3]; ``excess`` likewise.
            places: spans and their places on the sheets; see ``TileSet.places``.
            step: side of a cell in pixels.
            alpha: u8[H,W].

        Raises:
            ValueError: an array has another type or shape or gaps in its rows, or ``rgb`` is read-only.
        """
        _require_images(rgb, alpha, output=rgb)
        grid, rows, _weights = _buffers(step, alpha, _COLOR_FLOATS, 0)
        images = rgb.ctypes.data, rgb.strides[0], alpha.ctypes.data, alpha.strides[0]
        sheets = _sheet(subject), _sheet(excess)
        self._colors(ctypes.byref(grid), places.ctypes.data, len(places), *sheets, *images, rows.ctypes.data)


def load_compiled_pixels(path: Path = _LIBRARY) -> CompiledPixels | None:
    """Load the library; None if it is not compiled, has another version or no such functions, or cannot be loaded."""
    return load_library(path, _VERSION, CompiledPixels)


def has_packed_rows(*images: np.ndarray) -> bool:
    """Return whether the pixels of each row follow each other in memory, as the library requires."""
    return all(image[:1].flags.c_contiguous for image in images)


def _require_images(rgb: U8, alpha: U8, output: U8) -> None:
    """Require u8[H,W,3] and u8[H,W] with packed rows; ``output`` must not be read-only."""
    require_array(alpha, np.uint8, alpha.shape[:2], is_output=output is alpha)
    require_array(rgb, np.uint8, (*alpha.shape, 3), is_output=output is rgb)


def _sheet(values: F32) -> _Sheet:
    if not values.flags.c_contiguous or values.dtype != np.float32:
        raise ValueError("expected contiguous f32 values")
    return _Sheet(values.ctypes.data, values.shape[1] * values.shape[2])


def _buffers(step: int, alpha: U8, pixel_floats: int, cell_floats: int) -> tuple[_Grid, F32, F32]:
    """Return the grid, the buffer of the rows, and the array of weights, to which the grid only points."""
    columns = max(1, _ROW_PIXELS // step)
    weights = _phase_weights(step)
    grid = _Grid(*alpha.shape, step, columns, weights.ctypes.data)
    return grid, np.empty(columns * step * pixel_floats + (columns + 2) * cell_floats, np.float32), weights


@functools.lru_cache(maxsize=64)
def _phase_weights(step: int) -> F32:
    """Return the weight of the second of two cells at each pixel of a cell, f32[step]: linear between centers."""
    return np.asarray(((np.arange(step) + 0.5) / step + 0.5) % 1, np.float32)
