"""encode: turn a cutout into a file. The file has no metadata."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.errors import InvalidOption

from .compositing.blend import to_rgba
from .formats.registry import MEDIA_TYPES, WRITERS
from .types import Buffer, ComposedImage, EncodedImage, MaskedImage

AUTO = "auto"
"""Value of the option ``format``: png if anything is transparent, else jpg."""


def encode(cutout: ComposedImage | MaskedImage, format: str, quality: int | None = None) -> EncodedImage:
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
        if opaque(cutout):
            color = cutout.rgb if isinstance(cutout, MaskedImage) else cutout.pixels[:, :, :3]
            format, cutout = "jpg", ComposedImage(np.ascontiguousarray(color))
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
    quality = quality or writer.default_quality
    data: Buffer
    if isinstance(cutout, ComposedImage):
        data = writer.encode(cutout.pixels, quality)
    elif writer.encode_masked is not None:
        data = writer.encode_masked(cutout.rgb, cutout.alpha, quality)
    else:
        data = writer.encode(to_rgba(cutout.rgb, cutout.alpha), quality)
    return EncodedImage(data, format, MEDIA_TYPES[format], cutout.width, cutout.height)


def opaque(cutout: ComposedImage | MaskedImage) -> bool:
    """Return whether a cutout has no transparent pixel; a matte alone counts as transparent."""
    if isinstance(cutout, MaskedImage):
        return cv2.minMaxLoc(cutout.alpha)[0] == 255
    channels = cutout.pixels.shape[2]
    return channels == 3 or (channels == 4 and cv2.minMaxLoc(cv2.extractChannel(cutout.pixels, 3))[0] == 255)
