"""HEIC (HEVC still images in HEIF): images, grids and alpha, decoded by FFmpeg in a confined process."""

from __future__ import annotations

import re

import cv2
import numpy as np

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.formats.base import ImageFormat, Pixels, Reader
from clearcut.imaging.formats.opencv import damaged
from clearcut.imaging.types import U8, ImageHeader, ProbeLimits

from . import hevc, ycbcr
from .boxes import Item
from .hevc_decoder import decode_images
from .hevc_library import find_library
from .hevc_process.protocol import Colors
from .images import Codec, Nclx, nclx, property_of, read_image
from .still import decoded, header_of

_UNSPECIFIED = 2
"""Code point of H.273."""
_LARGEST_BLOCK = 64
"""Largest coding block of HEVC in pixels: coded sizes are multiples of the block size."""


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of a HEIC.

    Raises:
        CorruptImage, SuspiciousStructure, TooManyPixels: as for ``images.read_image``.
        UnsupportedFormat: as for ``images.read_image``, or this server has no decoder.
    """
    if find_library() is None:
        raise UnsupportedFormat("HEIC, and this server has no HEIC decoder (extra heif, on Linux); export it as JPEG")
    return header_of("heic", view, read_image(view, limits, CODEC))


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha; ``reduction`` is always 1. Samples of 10 and 12 bits are reduced to 8."""
    library = find_library()
    if library is None:
        raise damaged(header)
    image = read_image(view, ProbeLimits(), CODEC)
    found = decode_images(view, image, header, library)
    colors = nclx(view, image.main) or _in_data(found.colors)
    rgb = ycbcr.to_rgb(found.main, colors.matrix, full_range=colors.full_range)
    if found.alpha is None:
        return decoded(view, image, rgb, header, colors)
    alpha = ycbcr.to_gray(found.alpha, full_range=True)
    if image.premultiplied:
        rgb = _straight(rgb, alpha)
    return decoded(view, image, np.dstack([rgb, alpha]), header, colors)


def _in_data(found: Colors) -> Nclx:
    """Return the color space in the coded data. Where it has none, the range is full, as ISO/IEC 23000-22 defines."""
    primaries, transfer, matrix = found.primaries, found.transfer, found.matrix
    unspecified = {primaries, transfer, matrix} == {_UNSPECIFIED}
    return Nclx(primaries, transfer, matrix, unspecified or bool(found.full_range))


def _straight(rgb: U8, alpha: U8) -> U8:
    """Divide premultiplied color by alpha, rounded; color without alpha becomes black."""
    scaled = cv2.divide(rgb, cv2.merge([alpha] * 3), scale=255)
    return np.asarray(scaled, np.uint8)


def _check(item: Item, data: bytes, view: memoryview, size: tuple[int, int], max_units: int) -> None:
    box = property_of(item, b"hvcC")
    if box is None:
        raise CorruptImage("The HEIC has no decoder configuration")
    configuration = hevc.read_configuration(view[box.start : box.end])
    width, height = size
    for coded in configuration.sequences:
        if (coded.cropped_width, coded.cropped_height) != size or not (
            width <= coded.width < width + _LARGEST_BLOCK and height <= coded.height < height + _LARGEST_BLOCK
        ):
            raise SuspiciousStructure("The HEIC declares another size than its image data has")
    hevc.check_units(data, configuration.length_size, max_units)


CODEC = Codec(b"hvc1", b"hvcC", _check)

HEIC = ImageFormat(
    name="heic",
    title="HEIC",
    media_type="image/heic",
    extension="heic",
    other_extensions=("heif", "hif"),
    reader=Reader(
        re.compile(
            rb".{4}ftyp(?:hei[cxms]|hev[cxms]|(?:mif[12]|msf1|miaf).{4}(?:.{4}){0,15}?(?:hei[cxms]|hev[cx]))", re.DOTALL
        ),
        read_header,
        decode,
        available=lambda: find_library() is not None,
    ),
)
