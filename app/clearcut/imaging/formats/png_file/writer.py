"""A fast PNG writer for cutouts (W3C PNG, third edition).

The compiled library (``compiled_rows``) filters and compresses the rows. Without it, every row uses the filter Up, and
deflate runs at level 1, which takes twice the time. Both are several times faster than libpng at a similar size
(``benchmarks/codecs.py``).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from clearcut.imaging.compositing.blend import mask_into
from clearcut.imaging.formats.deflate import deflate
from clearcut.imaging.types import U8

from .compiled_rows import load_compiled_rows

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
_UP = 2
_STRIP_BYTES = 1 << 19
"""Bytes of rows that are joined and filtered at a time; they fit the CPU cache."""
_WINDOW_BITS = 12
"""Matches of residuals are short. From far away they cost more bits than they save, so 4 KiB give smaller files than
32 KiB in the same time (``benchmarks/codecs.py``)."""
_ZLIB_HEADER = b"\x78\x01"
"""Declares a window of 32 KiB (RFC 1950), which is valid for shorter matches too. Some readers, such as the decoder of
this service, check whether a declared smaller window is true, which costs time."""
_PERCEPTUAL = b"\x00"
_MAX_CHUNK = 2**31 - 1
_compiled_rows = load_compiled_rows()


def encode_png(pixels: U8) -> bytearray:
    """Encode u8[h,w,1|3|4] (gray, RGB, straight RGBA) as a PNG file with an sRGB chunk and no other metadata.

    Filtering uses a buffer of about half a MiB. The expensive steps release the GIL.

    Raises:
        ValueError: the compressed data exceeds the size limit of a chunk.
    """
    height, width, channels = pixels.shape
    step = _strip_rows(height, width * channels)

    def append_rows(out: bytearray) -> None:
        if _compiled_rows is not None:
            _compiled_rows.deflate(pixels, step, out)
        else:
            rows = pixels.reshape(height, -1)
            _deflate_rows((rows[top : top + step] for top in range(0, height, step)), width * channels, out)

    return _file(pixels.shape, append_rows)


def encode_masked_png(rgb: U8, alpha: U8) -> bytearray:
    """Encode ``rgb`` (u8[h,w,3]) with ``alpha`` (u8[h,w]) as straight RGBA with color 0 where alpha is 0.

    The file equals that of ``encode_png``, but the RGBA image never exists as a whole.
    """
    height, width = alpha.shape

    def append_rows(out: bytearray) -> None:
        if _compiled_rows is not None:
            _compiled_rows.deflate_masked(rgb, alpha, _strip_rows(height, 4 * width), out)
        else:
            _deflate_rows(_masked_strips(rgb, alpha), 4 * width, out)

    return _file((height, width, 4), append_rows)


def _masked_strips(rgb: U8, alpha: U8) -> Iterator[U8]:
    height, width = alpha.shape
    left, top_visible, visible_width, visible_height = cv2.boundingRect(alpha)
    columns = slice(left, left + visible_width)
    step = _strip_rows(height, 4 * width)
    strip = np.zeros((step, width, 4), np.uint8)
    empty = np.zeros((step, 4 * width), np.uint8)
    for top in range(0, height, step):
        count = min(step, height - top)
        if top + count <= top_visible or top >= top_visible + visible_height:
            yield empty[:count]
        else:
            area = slice(top, top + count), columns
            mask_into(rgb[area], alpha[area], strip[:count, columns])
            yield strip[:count].reshape(count, -1)


def _strip_rows(height: int, row_bytes: int) -> int:
    return max(1, min(height, _STRIP_BYTES // row_bytes))


def _file(shape: tuple[int, ...], append_rows: Callable[[bytearray], None]) -> bytearray:
    """Return the file of an image with the shape [h,w,1|3|4].

    Args:
        append_rows: appends the zlib stream of the filtered rows.
    """
    height, width, channels = shape
    out = bytearray(_SIGNATURE)
    out += _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0))
    out += _chunk(b"sRGB", _PERCEPTUAL)
    start = len(out)
    out += b"\x00\x00\x00\x00IDAT"
    append_rows(out)
    length = len(out) - start - 8
    if length > _MAX_CHUNK:
        raise ValueError("the image is too large for one PNG chunk")
    struct.pack_into(">I", out, start, length)
    with memoryview(out) as view:
        checksum = deflate.crc32(view[start + 4 :])
    out += struct.pack(">I", checksum)
    out += _chunk(b"IEND", b"")
    return out


def _deflate_rows(strips: Iterator[U8], row_bytes: int, out: bytearray) -> None:
    """Append the zlib stream of the filtered rows: each byte minus the byte above it (PNG 9.2).

    The row above the first one counts as zeros.
    """
    above = np.zeros(row_bytes, np.uint8)
    filtered = np.empty((0, row_bytes + 1), np.uint8)
    deflater = deflate.compressobj(1, deflate.DEFLATED, _WINDOW_BITS)
    start = len(out)
    for strip in strips:
        if len(strip) > len(filtered):
            filtered = np.empty((len(strip), row_bytes + 1), np.uint8)
            filtered[:, 0] = _UP
        body = filtered[: len(strip), 1:]
        np.subtract(strip[0], above, out=body[0])
        np.subtract(strip[1:], strip[:-1], out=body[1:])
        above[:] = strip[-1]
        out += deflater.compress(filtered[: len(strip)])
    out += deflater.flush()
    out[start : start + len(_ZLIB_HEADER)] = _ZLIB_HEADER


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
