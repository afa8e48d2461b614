"""Conversion to sRGB: embedded ICC profiles, CMYK, and PNG gamma.

The rendering intent is relative colorimetric with black point compensation, the default of browsers and print tools. A
profile that is damaged or does not match the image is ignored, and the values are taken as sRGB, as browsers do.
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
"""Bytes of RGB that are converted at a time; Pillow copies them to its own layout, and a strip fits the CPU cache."""
_IDENTITY_TOLERANCE = 2
"""A profile that changes no test color by more levels of 255 is treated as sRGB."""
_GAMMA_SRGB = 0.45455
_GAMMA_TOLERANCE = 0.05
"""Relative difference from ``_GAMMA_SRGB`` up to which the samples are treated as sRGB."""
_GAMMA_RANGE = (0.1, 2.0)
"""A gAMA value outside this range is an error of the encoder, such as 0, and is ignored."""


def rgb_to_srgb(rgb: U8, profile: bytes) -> U8:
    """Convert u8[H,W,3] from the color space of ``profile`` (RGB or gray) to sRGB.

    ``rgb`` is converted in place and returned. It is unchanged if the profile is sRGB, damaged or of another color
    space. A gray profile applies to the first channel.
    """
    matrix_profile = icc_matrix.parse(profile)
    if matrix_profile is not None:
        if not _is_identity(matrix_profile):
            matrix_profile.convert(rgb)
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


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> U8:
    """Convert a Pillow image of mode CMYK to u8[H,W,3]; without a usable CMYK profile, with the device formula."""
    opened = _open(profile) if profile else None
    if opened is not None and _space(opened) == "CMYK":
        transform = _transform(opened, "CMYK")
        if transform is not None:
            return np.array(transform.apply(image))
    return np.array(image.convert("RGB"))


def gamma_table(gamma: float, depth: int) -> U8 | None:
    """Return the table u8[2**depth] from samples of a PNG with a gAMA value to sRGB; None if no change is needed.

    Sources: W3C PNG 11.3.2.2 (gAMA) and IEC 61966-2-1 (sRGB). Encoders write about 1/2.2 for sRGB, so such samples do
    not change.
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
    except ValueError:  # the color space is not ASCII
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
    return int(cv2.absdiff(grid, moved).max()) <= _IDENTITY_TOLERANCE
