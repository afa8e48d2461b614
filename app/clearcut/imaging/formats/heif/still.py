"""Steps that AVIF and HEIC share: header, crop, and conversion of decoded pixels to sRGB."""

from __future__ import annotations

import numpy as np

from clearcut.imaging import cicp, color
from clearcut.imaging.cicp import CodingPoints
from clearcut.imaging.formats.base import Pixels
from clearcut.imaging.formats.opencv import MAX_PROFILE, damaged
from clearcut.imaging.types import U8, ImageHeader

from .images import Nclx, StillImage, color_profile, nclx

_BT709, _SRGB = 1, 13
_VIDEO_TRANSFERS = frozenset({1, 6, 14, 15})
"""BT.709, BT.601 and BT.2020. Encoders of photos write them for sRGB, and browsers show such files as sRGB."""


def header_of(name: str, view: memoryview, image: StillImage) -> ImageHeader:
    """Return the header of an image; width and height are after the crop and before the orientation."""
    size = (image.width, image.height) if image.crop is None else (image.crop.width, image.crop.height)
    frames = 2 if bytes(view[8:12]) in (b"avis", b"hevc", b"hevx", b"msf1") else 1
    return ImageHeader(name, *size, orientation=image.orientation, has_alpha=image.alpha is not None, frames=frames)


def decoded(
    view: memoryview, image: StillImage, pixels: U8, header: ImageHeader, in_data: Nclx | None = None
) -> Pixels:
    """Convert decoded u8[H,W,3|4] to the crop in sRGB, and alpha.

    Args:
        in_data: the color space in the coded data, for a file that does not declare one.

    Raises:
        CorruptImage: the pixels have another size than the checked header.
    """
    if pixels.shape[:2] != (image.height, image.width):
        raise damaged(header)
    if image.crop is not None:
        left, top, width, height = image.crop
        pixels = pixels[top : top + height, left : left + width]
    rgb = np.require(pixels[:, :, :3], np.uint8, ["C", "W"])
    alpha = np.ascontiguousarray(pixels[:, :, 3]) if pixels.shape[2] == 4 else None
    profile = color_profile(view, image.main, MAX_PROFILE)
    if profile is not None:
        return color.rgb_to_srgb(rgb, profile), alpha
    points = _coding_points(nclx(view, image.main) or in_data)
    return (rgb if points is None or points.is_srgb else points.convert(rgb)), alpha


def _coding_points(found: Nclx | None) -> CodingPoints | None:
    """Return the color space of an nclx box; unknown codes count as those of sRGB, as in browsers."""
    if found is None:
        return None
    transfer = _SRGB if found.transfer in _VIDEO_TRANSFERS else found.transfer
    candidates = (found.primaries, transfer), (found.primaries, _SRGB), (_BT709, transfer)
    return next((points for each in candidates if (points := cicp.coding_points(*each)) is not None), None)
