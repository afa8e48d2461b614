"""GIF (87a and 89a): the first frame, on a canvas of the size of the logical screen."""

from __future__ import annotations

import re
import struct
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL.GifImagePlugin import GifImageFile

from clearcut.errors import CorruptImage, SuspiciousStructure
from clearcut.imaging.types import ImageHeader, ProbeLimits

from .base import ImageFormat, Pixels, Reader
from .dimensions import check_dimensions
from .opencv import damaged, raise_if_out_of_memory

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_LEAST_BLOCK = 16
"""Minimum average size of data blocks over a long image, in bytes. Encoders write 255."""
_LZW_BEST = 2731
"""Maximum pixels for each byte of data: 4,096 pixels for a code of 12 bits."""


class _Frame(NamedTuple):
    """The first frame and its place in the file."""

    width: int
    height: int
    end: int
    """Offset of the first byte after the data of the frame."""
    transparent: bool


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of a GIF up to the end of the first frame; ``frames`` is 2 if anything follows it.

    Raises:
        CorruptImage: the file is truncated within the first frame, or has too little data for its size.
        SuspiciousStructure: too many blocks, or image data in very small blocks.
        TooManyPixels: the size is above ``limits``.
    """
    frame = _first_frame(view, limits)
    more = frame.end < len(view) and view[frame.end] in (_EXTENSION, _IMAGE)
    return ImageHeader("gif", frame.width, frame.height, has_alpha=frame.transparent, frames=2 if more else 1)


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode the first frame with Pillow; ``reduction`` is always 1. The rest of the file is not read."""
    end = _first_frame(view, ProbeLimits()).end
    try:
        with GifImageFile(BytesIO(bytes(view[:end]) + bytes((_TRAILER,)))) as image:
            image.load()
            pixels = np.array(image.convert("RGBA" if header.has_alpha else "RGB"))
    except (OSError, EOFError, SyntaxError, ValueError, TypeError, IndexError, struct.error) as exc:
        raise_if_out_of_memory(header)
        raise damaged(header) from exc
    rgb = np.ascontiguousarray(pixels[:, :, :3])
    return rgb, np.ascontiguousarray(pixels[:, :, 3]) if header.has_alpha else None


def _first_frame(view: memoryview, limits: ProbeLimits) -> _Frame:
    if len(view) < 13:
        raise CorruptImage("The GIF is truncated inside its header")
    width, height, flags = struct.unpack_from("<HHB", view, 6)
    at = 13 + _palette_bytes(flags)
    transparent = False
    for _ in range(limits.max_segments):
        if at >= len(view):
            raise CorruptImage("The GIF is truncated before its first frame")
        if view[at] == _EXTENSION:
            if at + 7 < len(view) and view[at + 1] == _GRAPHIC_CONTROL and view[at + 2] == 4:
                transparent = bool(view[at + 3] & 1)
            at, _ = _skip_blocks(view, at + 2, limits)
        elif view[at] == _IMAGE:
            if at + 11 > len(view):
                raise CorruptImage("The GIF is truncated inside its first frame")
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", view, at + 1)
            width, height = max(width, left + frame_width), max(height, top + frame_height)
            check_dimensions(width, height, limits)
            check_dimensions(frame_width, frame_height, limits)
            end, data_bytes = _skip_blocks(view, at + 11 + _palette_bytes(flags), limits)
            if frame_width * frame_height > data_bytes * _LZW_BEST:
                raise CorruptImage("The GIF contains too little data for the size in its header")
            return _Frame(width, height, end, transparent)
        else:
            raise CorruptImage("The GIF contains no image")
    raise SuspiciousStructure(f"The GIF has more than {limits.max_segments} blocks before its first frame")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(view: memoryview, at: int, limits: ProbeLimits) -> tuple[int, int]:
    """Return the offset after a sequence of data blocks, and the bytes of data in it."""
    count = total = 0
    while at < len(view):
        size = view[at]
        at += 1 + size
        if size == 0:
            return at, total
        count, total = count + 1, total + size
        if count > limits.max_segments + total // _LEAST_BLOCK:
            raise SuspiciousStructure("The GIF has its data in very small blocks")
    raise CorruptImage("The GIF is truncated inside its data")


GIF = ImageFormat(
    name="gif",
    title="GIF",
    media_type="image/gif",
    extension="gif",
    reader=Reader(re.compile(rb"GIF8[79]a"), read_header, decode),
)
