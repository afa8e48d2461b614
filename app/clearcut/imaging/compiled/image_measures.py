"""The compiled measures of an image and its matte (``measures.c``).

Without the library, ``matting.plain.background_field``, ``matting.edge_band`` and ``matting.refine`` compute the same
values with NumPy and OpenCV.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clearcut.imaging.types import U8

from . import declare, load_library

_LIBRARY = Path(__file__).with_name("measures.so")
_VERSION = 1
"""``measures_version`` in ``measures.c``. Increase both if an argument or the meaning of a function changes."""


class BorderLimits(ctypes.Structure):
    """``BorderLimits`` in ``measures.c``; ``background_field`` describes the values."""

    _fields_ = (
        ("samples", ctypes.c_int64),
        ("max_runs", ctypes.c_int64),
        ("start", ctypes.c_double),
        ("max_noise", ctypes.c_double),
        ("min_share", ctypes.c_double),
        ("scales", ctypes.c_double * 4),
        ("ridge", ctypes.c_double * 6),
    )


class _Field(ctypes.Structure):
    """``Field`` in ``measures.c``."""

    _fields_ = (("coefficients", ctypes.c_double * 18), ("noise", ctypes.c_double), ("share", ctypes.c_double))


class BorderField(NamedTuple):
    """The color of a plain border."""

    coefficients: npt.NDArray[np.float64]
    """f64[6,3], as ``background_field.ColorField``."""
    noise: float
    share: float


class CompiledMeasures:
    """The functions of the library. They release the GIL, and several threads may call them at once."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, size, byte = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint8
        image = pointer, size, size, size
        self._doubles = declare(library.border_field_doubles, size, size, size, size)
        self._border = declare(library.border_field, ctypes.c_int32, *image, pointer, pointer, pointer)
        self._extremes = declare(library.strip_extremes, None, *image, size, pointer, pointer)
        self._count = declare(library.count_between, size, *image, byte, byte)

    def border_field(self, rgb: U8, limits: BorderLimits) -> BorderField | None:
        """Return the field of colors of the border of ``rgb`` (u8[H,W,3], at least 2 x 2), or None if it is not plain.

        Raises:
            ValueError: the pixels of a row do not follow each other in memory, or the image is smaller.
        """
        height, width = _size(rgb, 3)
        if min(height, width) < 2:
            raise ValueError("expected at least 2 x 2 pixels")
        memory = np.empty(self._doubles(height, width, limits.samples), np.float64)
        field = _Field()
        image = rgb.ctypes.data, rgb.strides[0], height, width
        if not self._border(*image, ctypes.byref(limits), ctypes.byref(field), memory.ctypes.data):
            return None
        return BorderField(np.array(field.coefficients).reshape(6, 3), field.noise, field.share)

    def strip_extremes(self, plane: U8, rows: int) -> tuple[U8, U8]:
        """Return the highest and the lowest value of each column of each strip of ``rows`` rows, u8[ceil(h/rows),w].

        Args:
            plane: u8[h,w].

        Raises:
            ValueError: the pixels of a row do not follow each other in memory, or there are no rows.
        """
        height, width = _size(plane)
        if rows < 1:
            raise ValueError("expected at least one row")
        highest, lowest = np.empty((2, -(-height // rows), width), np.uint8)
        self._extremes(
            plane.ctypes.data, plane.strides[0], height, width, rows, highest.ctypes.data, lowest.ctypes.data
        )
        return highest, lowest

    def count_between(self, plane: U8, lowest: int, highest: int) -> int:
        """Return the number of values from ``lowest`` to ``highest`` in ``plane`` (u8[h,w]).

        Raises:
            ValueError: the pixels of a row do not follow each other in memory.
        """
        height, width = _size(plane)
        lowest, highest = max(lowest, 0), min(highest, 255)
        if lowest > highest:
            return 0
        return int(self._count(plane.ctypes.data, plane.strides[0], height, width, lowest, highest))


def load_measures(path: Path = _LIBRARY) -> CompiledMeasures | None:
    """Load the library; None if it is not compiled, has another version or no such functions, or cannot be loaded."""
    return load_library(path, _VERSION, CompiledMeasures)


def _size(image: U8, *channels: int) -> Sequence[int]:
    """Return height and width of u8[h,w] or u8[h,w,c].

    Raises:
        ValueError: the array has another type or shape, or gaps between the pixels of a row.
    """
    is_image = image.ndim == 2 + len(channels) and image.shape[2:] == channels
    if not is_image or image.dtype != np.uint8 or not image[:1].flags.c_contiguous:
        raise ValueError(f"expected u8[h,w{''.join(f',{each}' for each in channels)}] with packed rows")
    return image.shape[:2]
