"""AVIF (AV1 Image File Format): still images, grids and alpha; of a sequence the still image."""

from __future__ import annotations

import re
import struct
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from clearcut.errors import CorruptImage, SuspiciousStructure
from clearcut.imaging.formats.base import ImageFormat, Pixels, Reader, Writer
from clearcut.imaging.formats.opencv import damaged, raise_if_out_of_memory
from clearcut.imaging.types import U8, ImageHeader, ProbeLimits

from . import av1
from .boxes import Item
from .images import Codec, property_of, read_image
from .rebuild import rebuild
from .still import decoded, header_of

_SPEED = 9
"""Encoder speed of libavif, 0 (slowest) to 10. Speed 8 takes three times the time for a fifth less data
(``benchmarks/formats.py``)."""

_MAX_PIXELS = 16_000_000
"""Largest output, because libaom needs much memory."""
_MEMORY_FACTOR = 2
"""A request with this output needs 37 to 55 bytes for a pixel, one with PNG output 19 to 22
(``benchmarks/format_memory.py``)."""


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of an AVIF.

    Raises:
        CorruptImage, SuspiciousStructure, TooManyPixels, UnsupportedFormat: as for ``images.read_image``.
    """
    return header_of("avif", view, read_image(view, limits, CODEC))


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha; ``reduction`` is always 1."""
    image = read_image(view, ProbeLimits(), CODEC)
    try:
        with AvifImageFile(BytesIO(rebuild(view, image, CODEC, b"avif"))) as opened:
            opened.load()
            pixels = np.asarray(opened.convert("RGBA" if image.alpha is not None else "RGB"))
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, RuntimeError, struct.error) as exc:
        raise_if_out_of_memory(header)
        raise damaged(header) from exc
    return decoded(view, image, pixels, header)


def encode(pixels: U8, quality: int) -> bytes:
    """Encode u8[h,w,1|3|4] with lossy color and alpha, without chroma subsampling, which would blur a cut edge."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    out = BytesIO()
    subsampling = "4:0:0" if pixels.shape[2] == 1 else "4:4:4"
    image.save(out, "AVIF", quality=quality, speed=_SPEED, subsampling=subsampling, max_threads=1)
    return out.getvalue()


def _check(item: Item, data: bytes, view: memoryview, size: tuple[int, int], max_units: int) -> None:
    box = property_of(item, b"av1C")
    if box is None or box.end - box.start < 4:
        raise CorruptImage("The AVIF has no decoder configuration")
    if av1.sequence_size(data, max_units) != size:
        raise SuspiciousStructure("The AVIF declares another size than its image data has")


CODEC = Codec(b"av01", b"av1C", _check)

AVIF = ImageFormat(
    name="avif",
    title="AVIF",
    media_type="image/avif",
    extension="avif",
    reader=Reader(
        re.compile(rb".{4}ftyp(?:avi[fs]|(?:mif[12]|msf1|miaf|MA1[AB]).{4}(?:.{4}){0,15}?avi[fs])", re.DOTALL),
        read_header,
        decode,
    ),
    writer=Writer(encode, max_side=16_384, max_pixels=_MAX_PIXELS, memory_factor=_MEMORY_FACTOR, default_quality=75),
)
