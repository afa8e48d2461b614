"""Steps that AVIF and HEIC share: header, crop, and conversion of decoded pixels to sRGB."""

from __future__ import annotations

import numpy as np

from clearcut.errors import UnsupportedFormat
from clearcut.imaging import color
from clearcut.imaging.formats.base import Pixels
from clearcut.imaging.formats.opencv import MAX_PROFILE, damaged
from clearcut.imaging.types import U8, ImageHeader, ProbeLimits

from . import nclx_color
from .images import Codec, StillImage, color_profile, nclx, read_image


def still_image(view: memoryview, limits: ProbeLimits, codec: Codec) -> StillImage:
    """Read and check the primary image.

    Raises:
        CorruptImage, SuspiciousStructure, TooManyPixels: as for ``images.read_image``.
        UnsupportedFormat: the image has another codec, or HDR brightness (PQ or HLG).
    """
    image = read_image(view, limits, codec)
    found = nclx(view, image.main)
    if (
        found is not None
        and found.transfer in nclx_color.HDR_TRANSFERS
        and color_profile(view, image.main, MAX_PROFILE) is None
    ):
        raise UnsupportedFormat("an HDR image (PQ or HLG); save it as JPEG or PNG")
    return image


def header_of(name: str, view: memoryview, image: StillImage) -> ImageHeader:
    """Return the header of an image; width and height are after the crop and before the orientation."""
    size = (image.width, image.height) if image.crop is None else (image.crop.width, image.crop.height)
    frames = 2 if bytes(view[8:12]) in (b"avis", b"hevc", b"hevx", b"msf1") else 1
    return ImageHeader(name, *size, orientation=image.orientation, has_alpha=image.alpha is not None, frames=frames)


def decoded(view: memoryview, image: StillImage, pixels: U8, header: ImageHeader) -> Pixels:
    """Convert decoded u8[H,W,3|4] to the crop in sRGB, and alpha.

    Raises:
        CorruptImage: the pixels have another size than the checked header.
    """
    if pixels.shape[:2] != (image.height, image.width):
        raise damaged(header)
    if image.crop is not None:
        left, top, width, height = image.crop
        pixels = pixels[top : top + height, left : left + width]
    rgb = np.array(pixels[:, :, :3], np.uint8, order="C")
    alpha = np.ascontiguousarray(pixels[:, :, 3]) if pixels.shape[2] == 4 else None
    profile = color_profile(view, image.main, MAX_PROFILE)
    if profile is not None:
        return color.rgb_to_srgb(rgb, profile), alpha
    found = nclx(view, image.main)
    if found is not None:
        nclx_color.to_srgb(rgb, found.primaries, found.transfer)
    return rgb, alpha
