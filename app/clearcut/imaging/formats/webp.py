"""WebP (RFC 9649): lossy, lossless, with alpha; of an animation the first frame."""

from __future__ import annotations

import re
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from clearcut.imaging import color
from clearcut.imaging.types import U8, ImageHeader

from . import webp_chunks
from .base import ImageFormat, Pixels, Reader, Writer
from .opencv import MAX_PROFILE, TO_RGB, imdecode, split_alpha

_METHOD = 0
"""Encoder effort of libwebp, 0..6. Method 2 takes twice the time for a third less data (``benchmarks/codecs.py``)."""

_LOSSLESS_EFFORT = 20
"""Effort of the lossless encoder, 0..100."""
_FAST_LOSSLESS = 0
"""Effort for images that cannot be lossy."""
_FEW_COLORS, _SAMPLE = 512, 16_384
"""Colors among so many pixels up to which the lossless encoder is tried too. Photos have thousands."""

_MEMORY_FACTOR = 1.4
"""A request with this output needs 28 to 40 bytes for a pixel (``benchmarks/format_memory.py``)."""


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha; ``reduction`` is always 1."""
    if header.needs_repair:
        view = memoryview(webp_chunks.repaired(view))
    alpha: U8 | None = None
    if header.has_alpha:
        rgb, alpha = split_alpha(imdecode(view, header, cv2.IMREAD_UNCHANGED))
    else:
        rgb = imdecode(view, header, TO_RGB)
    profile = webp_chunks.icc_profile(view, MAX_PROFILE)
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


def encode(pixels: U8, quality: int) -> bytes:
    """Encode u8[h,w,1|3|4] with lossy color and lossless alpha, or without loss if that file is smaller.

    Only images with few colors, such as drawings and screenshots, are smaller without loss.
    Pillow is used because OpenCV cannot set the encoder effort and always uses 4. The encoder may change colors under
    alpha 0, which are zero here, to values that compress better; it derives them from visible pixels only.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    try:
        lossy = _save(image, quality=quality)
    except ValueError:  # the modes of more than about 13 megapixels of noise do not fit into their partition
        return _save(image, quality=_FAST_LOSSLESS, lossless=True)
    if not _has_few_colors(pixels):
        return lossy
    lossless = _save(image, quality=_LOSSLESS_EFFORT, lossless=True)
    return min(lossless, lossy, key=len)


def _save(image: Image.Image, **options: int) -> bytes:
    out = BytesIO()
    image.save(out, "WEBP", method=_METHOD, exact=False, **options)
    return out.getvalue()


def _has_few_colors(pixels: U8) -> bool:
    """Return whether a sample of the pixels has at most ``_FEW_COLORS`` values."""
    flat = pixels.reshape(-1, pixels.shape[2])
    sample = flat[:: max(1, len(flat) // _SAMPLE)].astype(np.uint32)
    packed = sample @ (1 << 8 * np.arange(pixels.shape[2], dtype=np.uint32))
    return len(np.unique(packed)) <= _FEW_COLORS


WEBP = ImageFormat(
    name="webp",
    title="WebP",
    media_type="image/webp",
    extension="webp",
    reader=Reader(re.compile(rb"RIFF.{4}WEBP", re.DOTALL), webp_chunks.read_header, decode),
    writer=Writer(encode, max_side=16_383, memory_factor=_MEMORY_FACTOR, default_quality=85),  # RFC 9649, section 2
)
