"""JPEG (ITU-T T.81): baseline and progressive; gray, YCbCr, CMYK and YCCK."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from simplejpeg import decode_jpeg

from clearcut.errors import CorruptImage
from clearcut.imaging import color
from clearcut.imaging.types import U8, ImageHeader

from .base import ImageFormat, Pixels, Reader, Writer
from .jpeg_file import repair as jpeg_repair
from .jpeg_file import segments as jpeg_segments
from .jpeg_file.holes import ZERO_RUN, has_hole, lacks_restarts
from .opencv import MAX_PROFILE, damaged, raise_if_out_of_memory

_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_UNFINISHED = "Inconsistent progression sequence"
_UNKNOWN_SAMPLING = "subsampling"
_MISSING = re.compile("premature end|Premature end|bad Huffman|bad arithmetic|instead of RST")
"""libjpeg's warnings about blocks that are missing or unreadable (``jerror.h``)."""
_PADDING = 16
"""Bytes between the last block and the end marker that cameras write, for example to an even length."""
_PROGRESSIVE_PIXELS = range(20_000, 300_000)
"""Outputs of this size are progressive; others have optimized tables. Smaller outputs would gain nothing, and larger
ones 2 to 5 % of the bytes for more than twice the encoder's time (``benchmarks/jpeg_kinds.py``).
"""
_SOS, _EOI = b"\xff\xda", b"\xff\xd9"
_FURTHER_DATA = b"\x5a" * 64
"""Decodes to blocks that are not gray."""


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB; a reduction of 2, 4 or 8 decodes only the low DCT frequencies of each block.

    Raises:
        CorruptImage: a block is missing or unreadable; libjpeg would return it in gray.
    """
    profile = jpeg_segments.icc_profile(view, MAX_PROFILE)
    if jpeg_segments.components(view) == 4:
        inks = _decode(view, header, "CMYK", reduction)
        np.subtract(255, inks, out=inks)  # Adobe's inverted values, which every encoder of CMYK writes
        image = Image.frombuffer("CMYK", inks.shape[1::-1], inks, "raw", "CMYK", 0, 1)
        return color.cmyk_to_srgb(image, profile), None
    rgb = _decode(view, header, "RGB", reduction)
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), None


def encode(pixels: U8, quality: int) -> memoryview:
    """Encode u8[h,w,1|3] without chroma subsampling, which would blur a cut edge on a plain background.

    The file is progressive where that makes it smaller for little time. Its pixels do not depend on that.

    Raises:
        ValueError: the pixels have an alpha channel.
    """
    if pixels.shape[2] == 4:
        raise ValueError("JPEG has no alpha channel")
    source = pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    progressive = pixels.shape[0] * pixels.shape[1] in _PROGRESSIVE_PIXELS
    tables = (cv2.IMWRITE_JPEG_PROGRESSIVE if progressive else cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    done, encoded = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling, *tables])
    if not done:
        raise ValueError("the JPEG encoder failed")
    return encoded.data


def _decode(view: memoryview, header: ImageHeader, mode: str, reduction: int) -> U8:
    """Decode to u8[h,w,3|4] and require all blocks.

    A file with an irregular structure, or one about which libjpeg warns, is decoded again from a repaired copy.
    """
    if not header.needs_repair:
        try:
            return _without_hole(view, _libjpeg(view, header, mode, reduction))
        except ValueError:
            pass
    data = jpeg_repair.repaired(view)
    try:
        return _without_hole(data, _libjpeg(data, header, mode, reduction))
    except ValueError as exc:
        raise_if_out_of_memory(header)
        message = str(exc)
        if _UNKNOWN_SAMPLING in message:
            return _complete(data, lambda file: _decode_unusual_sampling(file, header, mode, reduction))
        left_over = _left_over(message)
        foreign = left_over > _PADDING and not header.needs_repair
        lost = foreign and ZERO_RUN in data[data.index(_SOS) : -left_over]
        if _MISSING.search(message) or lost or (left_over and lacks_restarts(data)):
            raise _missing_blocks() from exc
        if left_over or message.startswith(_UNFINISHED):
            pixels = _complete(data, lambda file: _libjpeg(file, header, mode, reduction, strict=False))
            return _without_hole(data, pixels, left_over)
        raise damaged(header) from exc


def _left_over(message: str) -> int:
    """Return the number of bytes after the last block of the image or of a restart interval.

    They are harmless: some phones, scanners and webcams write them. A hole of zeros in the data can have the same
    result, because zeros decode to blocks of another length.
    """
    found = _EXTRANEOUS.search(message)
    return int(found[1]) if found else 0


def _without_hole(data: bytes | memoryview, pixels: U8, left_over: int = 0) -> U8:
    if has_hole(data, left_over):
        raise _missing_blocks()
    return pixels


def _complete(data: bytes, read: Callable[[bytes], U8]) -> U8:
    """Decode a repaired file with ``read``, which returns missing blocks in gray.

    The file is decoded once more with other data before its end marker. Only a file with missing blocks needs that
    data, so its pixels change.

    Raises:
        CorruptImage: the last scan is incomplete.
    """
    pixels = read(data)
    if not np.array_equal(pixels, read(data[: -len(_EOI)] + _FURTHER_DATA + _EOI)):
        raise _missing_blocks()
    return pixels


def _missing_blocks() -> CorruptImage:
    return CorruptImage("The JPEG is truncated or damaged: blocks of the image are missing")


def _libjpeg(data: bytes | memoryview, header: ImageHeader, mode: str, reduction: int, *, strict: bool = True) -> U8:
    """Decode with libjpeg-turbo; raises ValueError with its first message, for warnings only if ``strict``."""
    width, height = -(-header.width // reduction), -(-header.height // reduction)
    pixels = decode_jpeg(
        data, mode, min_width=width, min_height=height, min_factor=1 if reduction == 1 else reduction, strict=strict
    )
    return np.asarray(pixels, np.uint8)


def _decode_unusual_sampling(data: bytes, header: ImageHeader, mode: str, reduction: int) -> U8:
    """Decode with Pillow, because TurboJPEG does not know all sampling factors; missing blocks become gray.

    The plug-in class is used directly: ``Image.open`` would try every format and apply Pillow's own pixel limit.
    """
    try:
        with JpegImageFile(BytesIO(data)) as image:
            pixels = np.array(image.convert(mode), np.uint8)
    except (OSError, SyntaxError, ValueError, TypeError, IndexError) as exc:  # as Image.open expects
        raise damaged(header) from exc
    if mode == "CMYK":
        np.subtract(255, pixels, out=pixels)
    if reduction > 1:
        size = -(-header.width // reduction), -(-header.height // reduction)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return pixels


JPEG = ImageFormat(
    name="jpeg",
    title="JPEG",
    media_type="image/jpeg",
    extension="jpg",
    reader=Reader(re.compile(rb"\xff\xd8\xff"), jpeg_segments.read_header, decode, reductions=(8, 4, 2)),
    writer=Writer(encode, max_side=65_500, default_quality=90, has_alpha=False),  # the limit of libjpeg
)
