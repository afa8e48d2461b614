"""JPEG (ITU-T T.81): baseline and progressive; gray, YCbCr, CMYK and YCCK."""

from __future__ import annotations

import re
import struct
from io import BytesIO

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from clearcut.imaging import color
from clearcut.imaging.types import U8, ImageHeader

from . import jpeg_segments
from .base import ImageFormat, Pixels, Reader, Writer
from .opencv import MAX_PROFILE, TO_RGB, damaged, imdecode, raise_if_out_of_memory

_REDUCTION_FLAGS = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""The reduction bit of each OpenCV flag; the color bit comes from ``TO_RGB``."""


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB; a reduction of 2, 4 or 8 decodes only the low DCT frequencies of each block."""
    profile = jpeg_segments.icc_profile(view, MAX_PROFILE)
    if jpeg_segments.components(view) == 4:
        rgb = _decode_cmyk(view, header, profile)
        if reduction > 1:
            size = -(-header.width // reduction), -(-header.height // reduction)
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        return rgb, None
    rgb = imdecode(view, header, TO_RGB | _REDUCTION_FLAGS[reduction])
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), None


def encode(pixels: U8, quality: int) -> memoryview:
    """Encode u8[h,w,1|3] without chroma subsampling, which would blur a cut edge on a plain background.

    Raises:
        ValueError: the pixels have an alpha channel.
    """
    if pixels.shape[2] == 4:
        raise ValueError("JPEG has no alpha channel")
    source = pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    done, encoded = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    if not done:
        raise ValueError("the JPEG encoder failed")
    return encoded.data


def _decode_cmyk(view: memoryview, header: ImageHeader, profile: bytes | None) -> U8:
    """Decode CMYK and YCCK with Pillow, which returns the four inks and handles Adobe's inverted values.

    The plug-in class is used directly: ``Image.open`` would try every format and apply Pillow's own pixel limit.
    """
    try:
        with JpegImageFile(BytesIO(jpeg_segments.pixels_only(view))) as image:
            image.load()
            return color.cmyk_to_srgb(image, profile)
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, struct.error) as exc:  # as Image.open expects
        raise_if_out_of_memory(header)
        raise damaged(header) from exc


JPEG = ImageFormat(
    name="jpeg",
    title="JPEG",
    media_type="image/jpeg",
    extension="jpg",
    reader=Reader(re.compile(rb"\xff\xd8\xff"), jpeg_segments.read_header, decode, reductions=(8, 4, 2)),
    writer=Writer(encode, max_side=65_500, default_quality=90, has_alpha=False),  # the limit of libjpeg
)
