"""encode: turn a cutout into a file. The file has no metadata."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.errors import InvalidOption

from .formats.registry import MEDIA_TYPES, WRITERS
from .types import U8, ComposedImage, EncodedImage

AUTO = "auto"
"""Value of the option ``format``: png if anything is transparent, else jpg."""


def encode(cutout: ComposedImage, format: str, quality: int | None = None) -> EncodedImage:
    """Encode ``cutout`` in one of the registry's output formats, or in ``auto``.

    A cutout with one channel becomes a gray image. Formats without alpha need an opaque cutout, and ``zip`` needs one
    with color.

    Args:
        quality: 1..100 for lossy formats; None uses the default of the format.

    Raises:
        InvalidOption: the format is unknown, cannot hold an image of this size, or cannot hold a matte alone.
    """
    if format == AUTO:
        format = "png"
        if opaque(cutout.pixels):
            format, cutout = "jpg", ComposedImage(np.ascontiguousarray(cutout.pixels[:, :, :3]))
    writer = WRITERS.get(format)
    if writer is None:
        raise InvalidOption("format", ", ".join([*WRITERS, AUTO]))
    if max(cutout.width, cutout.height) > writer.max_side:
        raise InvalidOption(
            "format",
            f"a format for {cutout.width} x {cutout.height} pixels; {format} allows {writer.max_side} pixels a side",
        )
    if writer.max_pixels is not None and cutout.width * cutout.height > writer.max_pixels:
        raise InvalidOption(
            "format",
            f"a format for {cutout.width} x {cutout.height} pixels; {format} allows "
            f"{writer.max_pixels / 1e6:g} megapixels",
        )
    data = writer.encode(cutout.pixels, quality or writer.default_quality)
    return EncodedImage(data, format, MEDIA_TYPES[format], cutout.width, cutout.height)


def opaque(pixels: U8) -> bool:
    """Return whether a cutout u8[h,w,1|3|4] has no transparent pixel; a matte alone counts as transparent."""
    channels = pixels.shape[2]
    return channels == 3 or (channels == 4 and cv2.minMaxLoc(cv2.extractChannel(pixels, 3))[0] == 255)
