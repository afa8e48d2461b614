"""The compiled filter and compressor for rows of PNG files (``rows.c``).

The library is optional: without it, the writer uses ISA-L or zlib. ``make setup`` and the Dockerfiles compile it.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from clearcut.imaging.types import U8

_LIBRARY = Path(__file__).with_name("rows.so")
_VERSION = 1
"""``png_rows_version`` in ``rows.c``. Increase both if an argument or the meaning of a function changes."""
_ZLIB_HEADER = b"\x78\x01"
_BYTES_PER_BYTE = 14 / 8
"""Maximum size of a block relative to its rows: the longest code has 14 bits."""
_HEADER_BYTES = 600
"""Maximum size of a block without its rows."""


class _Stream(ctypes.Structure):
    """The state between two blocks; ``Stream`` in ``rows.c``."""

    _fields_ = (("bits", ctypes.c_uint64), ("count", ctypes.c_uint32), ("adler", ctypes.c_uint32))


class CompiledRows:
    """The functions of the library. Both release the GIL, and several threads may call them at once."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._strip, self._empty = library.png_strip, library.png_empty_strip
        self._strip.restype = self._empty.restype = size
        self._strip.argtypes = pointer, pointer, size, size, size, pointer, pointer, pointer, ctypes.c_int
        self._empty.argtypes = size, size, pointer, pointer, ctypes.c_int

    def deflate(self, strips: Iterable[U8], height: int, row_bytes: int, pixel_bytes: int, out: bytearray) -> None:
        """Append the zlib stream of filtered rows to ``out``.

        Args:
            strips: the image's rows from top to bottom, u8[n,row_bytes]; the first strip is the largest.
            height: number of all rows.
        """
        out += _ZLIB_HEADER
        stream = _Stream(0, 0, 1)
        above = np.zeros(row_bytes, np.uint8)
        filtered = block = np.empty(0, np.uint8)
        is_empty = True
        for strip in map(np.ascontiguousarray, strips):
            count = len(strip)
            height -= count
            if not filtered.size:
                filtered = np.empty(count * (row_bytes + 1), np.uint8)
                block = np.empty(int(filtered.size * _BYTES_PER_BYTE) + _HEADER_BYTES, np.uint8)
            was_empty, is_empty = is_empty, not cv2.hasNonZero(strip)
            end = block.ctypes.data, ctypes.addressof(stream), height == 0
            if was_empty and is_empty:
                size = self._empty(count, row_bytes, *end)
            else:
                size = self._strip(
                    strip.ctypes.data, above.ctypes.data, count, row_bytes, pixel_bytes, filtered.ctypes.data, *end
                )
                above[:] = strip[-1]
            out += block[:size].data
        out += struct.pack(">I", stream.adler)


def load_compiled_rows(path: Path = _LIBRARY) -> CompiledRows | None:
    """Load the library; None if it is not compiled, has another version, or cannot be loaded."""
    try:
        library = ctypes.CDLL(str(path))
        return CompiledRows(library) if library.png_rows_version() == _VERSION else None
    except (OSError, AttributeError):
        return None
