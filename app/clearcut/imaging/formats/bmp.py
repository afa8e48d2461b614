"""BMP (Windows bitmap): 1 to 32 bits for each pixel, with a palette, bit fields or alpha; not run-length encoded."""

from __future__ import annotations

import re
import struct
from io import BytesIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from clearcut.errors import CorruptImage, UnsupportedFormat
from clearcut.imaging.types import ImageHeader, ProbeLimits

from .base import ImageFormat, Pixels, Reader
from .dimensions import check_dimensions
from .opencv import damaged, raise_if_out_of_memory

_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
"""Sizes of the second header: OS/2 1, Windows 3, two of Adobe, OS/2 2, Windows 4 and 5."""
_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_OTHER_MASKS = "Unsupported BMP bitfields layout"
"""Pillow's error for bit fields that it does not read, such as 10 bits for each color."""


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of a BMP.

    Raises:
        CorruptImage: the file is truncated or contradicts itself.
        TooManyPixels: the size is above ``limits``.
        UnsupportedFormat: the pixels are compressed, or have bit fields of Windows CE.
    """
    if len(view) < 26:
        raise CorruptImage("The BMP is truncated inside its header")
    start, head = struct.unpack_from("<II", view, 10)
    if head not in _HEADERS or len(view) < 14 + head:
        raise CorruptImage("The BMP has an unknown or incomplete header")
    compression = _RGB
    if head == 12:
        width, height, planes, depth = struct.unpack_from("<HHHH", view, 18)
    else:
        width, height, planes, depth, compression = struct.unpack_from("<iiHHI", view, 18)
        height = abs(height)
    check_dimensions(width, height, limits)
    if compression in (_RLE8, _RLE4):
        raise UnsupportedFormat("a BMP with run-length encoding; save it as PNG")
    if compression == _ALPHA_BITFIELDS:
        raise UnsupportedFormat("a BMP with bit fields of Windows CE; save it as PNG")
    if compression not in (_RGB, _BITFIELDS):
        raise UnsupportedFormat("a BMP with compressed pixels; save it as PNG")
    fields = compression != _RGB
    if planes != 1 or depth not in ((16, 32) if fields else (1, 4, 8, 16, 24, 32)):
        raise CorruptImage("The BMP's header is not valid")
    stride = (width * depth + 31) // 32 * 4
    if start < 14 + head or start + stride * height > len(view):
        raise CorruptImage("The BMP is truncated: it is shorter than its header declares")
    has_alpha = fields and depth == 32 and head >= 56 and struct.unpack_from("<I", view, 66)[0] != 0
    return ImageHeader("bmp", width, height, has_alpha=has_alpha)


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode with Pillow; ``reduction`` is always 1. Alpha that is 0 everywhere is unused, as in browsers.

    Raises:
        CorruptImage: the file cannot be decoded.
        UnsupportedFormat: bit fields that Pillow does not read.
    """
    try:
        with BmpImageFile(BytesIO(view)) as image:
            image.load()
            pixels = np.array(image.convert("RGBA" if header.has_alpha else "RGB"))
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, struct.error) as exc:
        if str(exc) == _OTHER_MASKS:
            raise UnsupportedFormat("a BMP with unusual bit fields; save it as PNG") from exc
        raise_if_out_of_memory(header)
        raise damaged(header) from exc
    rgb = np.ascontiguousarray(pixels[:, :, :3])
    has_alpha = header.has_alpha and pixels[:, :, 3].any()
    return rgb, np.ascontiguousarray(pixels[:, :, 3]) if has_alpha else None


BMP = ImageFormat(
    name="bmp",
    title="BMP",
    media_type="image/bmp",
    extension="bmp",
    other_extensions=("dib",),
    reader=Reader(re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", re.DOTALL), read_header, decode),
)
