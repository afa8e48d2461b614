"""Everything that is not sRGB yet becomes it: embedded ICC profiles, CMYK, and PNG's bare gamma.

Relative colorimetric with black point compensation, as browsers and print tools default to. A profile that cannot be
read or does not fit the picture counts as none: the numbers are then taken for sRGB, as browsers do.
"""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from PIL import Image, ImageCms

from . import icc_matrix
from .icc_matrix import MatrixProfile, srgb_curve
from .types import U8

_STRIP_BYTES = 1 << 20
"""Pixels are converted strip by strip: Pillow needs them in its own layout, and a strip stays in the cache."""
_SAME = 2
"""A profile that moves no test colour by more than this many levels is sRGB, whatever it calls itself."""
_GAMMA_SRGB = 0.45455
_GAMMA_TOLERANCE = 0.05
_GAMMA_RANGE = (0.1, 2.0)
"""Outside of it a gAMA chunk is a slip of the writer (0, 100000 times too large) and not a measurement."""


def rgb_to_srgb(rgb: U8, profile: bytes) -> U8:
    """u8[H,W,3] in the colours of ``profile`` (RGB or grey) to sRGB.

    ``rgb`` is converted in place and returned, or returned as it is when the profile is sRGB, broken or of another
    colour space. A grey profile is taken for the first channel.
    """
    simple = icc_matrix.parse(profile)
    if simple is not None:
        if not _is_identity(simple):
            simple.convert(rgb)
        return rgb
    opened = _open(profile)
    if opened is None:
        return rgb
    mode = {"RGB": "RGB", "GRAY": "L"}.get(_space(opened))
    transform = _transform(opened, mode) if mode else None
    if transform is None or mode is None:
        return rgb
    rows = max(1, _STRIP_BYTES // (3 * rgb.shape[1]))
    for top in range(0, rgb.shape[0], rows):
        strip = rgb[top : top + rows]
        source = Image.fromarray(strip if mode == "RGB" else np.ascontiguousarray(strip[:, :, 0]))
        strip[:] = np.asarray(transform.apply(source))
    return rgb


def cmyk_to_srgb(picture: Image.Image, profile: bytes | None) -> U8:
    """A Pillow picture of mode CMYK to u8[H,W,3]; without a usable CMYK profile by the plain device formula."""
    opened = _open(profile) if profile else None
    if opened is not None and _space(opened) == "CMYK":
        transform = _transform(opened, "CMYK")
        if transform is not None:
            return np.array(transform.apply(picture))
    return np.array(picture.convert("RGB"))


def gamma_table(gamma: float, depth: int) -> U8 | None:
    """u8[2**depth] from stored samples to sRGB for a PNG whose gAMA chunk says ``gamma``; None if nothing is to do.

    W3C PNG 11.3.2.2 (gAMA) and IEC 61966-2-1 (the sRGB curve). Around 1/2.2 the samples are sRGB already: that is
    what writers mean by it.
    """
    low, high = _GAMMA_RANGE
    if not low <= gamma <= high or abs(gamma / _GAMMA_SRGB - 1) <= _GAMMA_TOLERANCE:
        return None
    light = np.linspace(0, 1, 1 << depth) ** (1 / gamma)
    return srgb_curve(light)


def _open(profile: bytes) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(BytesIO(profile))
    except (OSError, ImageCms.PyCMSError):
        return None


def _space(opened: ImageCms.ImageCmsProfile) -> str:
    try:
        return str(opened.profile.xcolor_space).strip()
    except ValueError:  # the four bytes are no ASCII
        return ""


def _transform(opened: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        return ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ValueError, ImageCms.PyCMSError):
        return None


def _is_identity(profile: MatrixProfile) -> bool:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    moved = grid.copy()
    profile.convert(moved)
    return int(cv2.absdiff(grid, moved).max()) <= _SAME
