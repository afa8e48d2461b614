"""WebP (RFC 9649): lossy, lossless, with alpha; of an animation the first frame."""

from __future__ import annotations

import re
from io import BytesIO

import cv2
from PIL import Image

from clearcut.imaging import color
from clearcut.imaging.types import U8, ImageHeader

from . import webp_chunks
from .base import ImageFormat, Pixels, Reader, Writer
from .opencv import MAX_PROFILE, TO_RGB, imdecode, split_alpha

_METHOD = 0
"""Encoder effort of libwebp, 0..6. Method 2 takes twice the time for a third less data (``benchmarks/codecs.py``)."""


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha; ``reduction`` is always 1."""
    alpha: U8 | None = None
    if header.has_alpha:
        rgb, alpha = split_alpha(imdecode(view, header, cv2.IMREAD_UNCHANGED))
    else:
        rgb = imdecode(view, header, TO_RGB)
    profile = webp_chunks.icc_profile(view, MAX_PROFILE)
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


def encode(pixels: U8, quality: int) -> bytes:
    """Encode u8[h,w,1|3|4] with lossy color and lossless alpha.

    Pillow is used because OpenCV cannot set the encoder effort and always uses 4. The encoder may change colors under
    alpha 0, which are zero here, to values that compress better; it derives them from visible pixels only.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    out = BytesIO()
    image.save(out, "WEBP", quality=quality, method=_METHOD, exact=False)
    return out.getvalue()


WEBP = ImageFormat(
    name="webp",
    title="WebP",
    media_type="image/webp",
    extension="webp",
    reader=Reader(re.compile(rb"RIFF.{4}WEBP", re.DOTALL), webp_chunks.read_header, decode),
    writer=Writer(encode, max_side=16_383, default_quality=85),  # RFC 9649, section 2
)
