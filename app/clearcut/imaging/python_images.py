"""Conversion of Pillow images and arrays, as callers in Python have them, to inputs of the pipeline and back."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from clearcut.errors import CorruptImage

from .color import cmyk_to_srgb
from .types import ComposedImage, DecodedImage

PilImage = Image.Image

_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
_ORIENTATION = 0x0112
"""EXIF tag of the orientation."""


def from_array(pixels: npt.NDArray[np.generic]) -> DecodedImage:
    """Copy an array to an image.

    Args:
        pixels: u8[H,W,3] RGB or u8[H,W,4] straight RGBA, upright sRGB.

    Raises:
        TypeError: the array has another type or shape.
        CorruptImage: a side is zero.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise TypeError(f"expected an array u8[H,W,3] or u8[H,W,4], got {pixels.dtype} {list(pixels.shape)}")
    _require_pixels(pixels.shape[1], pixels.shape[0])
    rgb = np.array(pixels[:, :, :3], np.uint8, order="C")
    if pixels.shape[2] == 3 or not pixels.size or int(pixels[:, :, 3].min()) == 255:
        return DecodedImage(rgb)
    return DecodedImage(rgb, np.array(pixels[:, :, 3], np.uint8, order="C"))


def encode_png(image: PilImage) -> bytes:
    """Encode a Pillow image as PNG without loss, with its color profile and EXIF orientation.

    CMYK is converted to sRGB as in JPEG files. Other modes that PNG does not have are converted to RGB.

    Raises:
        CorruptImage: a side is zero.
    """
    _require_pixels(*image.size)
    options = {}
    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.mode == "CMYK":
        image = Image.fromarray(cmyk_to_srgb(image, image.info.get("icc_profile")))
    elif image.mode not in _PNG_MODES:
        image = image.convert("RGBA" if image.mode in ("PA", "RGBa", "La") else "RGB")
        image.info.pop("icc_profile", None)
    if profile := image.info.get("icc_profile"):
        options["icc_profile"] = profile
    if orientation != 1:
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        options["exif"] = exif.tobytes()
    file = BytesIO()
    image.save(file, "PNG", compress_level=1, **options)
    return file.getvalue()


def _require_pixels(width: int, height: int) -> None:
    if not width or not height:
        raise CorruptImage(f"it has a size of {width} x {height} pixels")


def to_pil(cutout: ComposedImage) -> PilImage:
    """Return a cutout as a Pillow image: RGBA, RGB or L."""
    pixels = cutout.pixels
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
