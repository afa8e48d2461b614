"""The compiled filter and compressor for rows of PNG files (``rows.c``).

The library is optional: without it, the writer uses ISA-L or zlib. ``make setup`` and the Dockerfiles compile it.
"""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import cv2
import numpy as np

from clearcut.imaging.compiled import declare, load_library
from clearcut.imaging.types import U8

_LIBRARY = Path(__file__).with_name("rows.so")
_VERSION = 2
"""``rows_version`` in ``rows.c``. Increase both if an argument or the meaning of a function changes."""
_ZLIB_HEADER = b"\x78\x01"
_BYTES_PER_BYTE = 14 / 8
"""Maximum size of a block relative to its rows: the longest code has 14 bits."""
_HEADER_BYTES = 600
"""Maximum size of a block without its rows."""


class _Stream(ctypes.Structure):
    """The state between two blocks; ``Stream`` in ``rows.c``."""

    _fields_ = (("bits", ctypes.c_uint64), ("count", ctypes.c_uint32), ("adler", ctypes.c_uint32))


class CompiledRows:
    """The functions of the library. They release the GIL, and several threads may call them at once."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        image, output = (pointer, size), (pointer, pointer, ctypes.c_int)
        self._strip = declare(library.png_strip, size, pointer, pointer, size, size, size, pointer, *output)
        self._masked = declare(library.png_masked_strip, size, *image, *image, size, size, pointer, pointer, *output)
        self._empty = declare(library.png_empty_strip, size, size, size, *output)

    def deflate(self, pixels: U8, strip_rows: int, out: bytearray) -> None:
        """Append the zlib stream of the filtered rows of ``pixels`` (u8[h,w,c]) to ``out``.

        Args:
            strip_rows: rows of a block.
        """
        height, width, channels = pixels.shape
        row_bytes = width * channels
        rows = np.ascontiguousarray(pixels).reshape(height, row_bytes)
        blocks = _Blocks(strip_rows, row_bytes, out)
        zeros = np.zeros(row_bytes, np.uint8)
        was_empty = True
        for top in range(0, height, strip_rows):
            strip = rows[top : top + strip_rows]
            end = blocks.end(top + strip_rows >= height)
            is_empty = not cv2.hasNonZero(strip)
            if was_empty and is_empty:
                blocks.append(self._empty(len(strip), row_bytes, *end))
            else:
                above = (rows[top - 1] if top else zeros).ctypes.data
                size = len(strip), row_bytes, channels
                blocks.append(self._strip(strip.ctypes.data, above, *size, blocks.filtered.ctypes.data, *end))
            was_empty = is_empty
        blocks.finish()

    def deflate_masked(self, rgb: U8, alpha: U8, strip_rows: int, out: bytearray) -> None:
        """Append the same as ``deflate`` for RGBA pixels with color 0 where ``alpha`` is 0.

        Args:
            rgb: u8[h,w,3].
            alpha: u8[h,w].
        """
        height, width = alpha.shape
        if rgb.strides[1:] != (3, 1):
            rgb = np.ascontiguousarray(rgb)
        if alpha.strides[1] != 1:
            alpha = np.ascontiguousarray(alpha)
        blocks = _Blocks(strip_rows, 4 * width, out)
        lines = np.zeros((2, 4 * width), np.uint8)
        was_empty = True
        for top in range(0, height, strip_rows):
            cover = alpha[top : top + strip_rows]
            end = blocks.end(top + strip_rows >= height)
            is_empty = not cv2.hasNonZero(cover)
            if was_empty and is_empty:
                blocks.append(self._empty(len(cover), 4 * width, *end))
            else:
                color = rgb[top:].ctypes.data, rgb.strides[0]
                size = len(cover), width
                buffers = lines.ctypes.data, blocks.filtered.ctypes.data
                blocks.append(self._masked(*color, cover.ctypes.data, alpha.strides[0], *size, *buffers, *end))
            was_empty = is_empty
        blocks.finish()


class _Blocks:
    """A zlib stream and the buffers of its blocks."""

    def __init__(self, strip_rows: int, row_bytes: int, out: bytearray) -> None:
        self._out = out
        self._stream = _Stream(0, 0, 1)
        self.filtered = np.empty(strip_rows * (row_bytes + 1), np.uint8)
        """Buffer for the filtered rows of a strip."""
        self._block = np.empty(int(self.filtered.size * _BYTES_PER_BYTE) + _HEADER_BYTES, np.uint8)
        out += _ZLIB_HEADER

    def end(self, last: bool) -> tuple[int, int, bool]:
        """Return the last arguments of each function."""
        return self._block.ctypes.data, ctypes.addressof(self._stream), last

    def append(self, size: int) -> None:
        """Append the block, of ``size`` bytes."""
        self._out += self._block[:size].data

    def finish(self) -> None:
        """Append the checksum."""
        self._out += struct.pack(">I", self._stream.adler)


def load_compiled_rows(path: Path = _LIBRARY) -> CompiledRows | None:
    """Load the library; None if it is not compiled, has another version or no such functions, or cannot be loaded."""
    return load_library(path, _VERSION, CompiledRows)
