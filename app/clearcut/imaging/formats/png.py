"""PNG (W3C PNG, third edition): all color types and bit depths, interlaced or not."""

from __future__ import annotations

import re

import cv2
import numpy as np

from clearcut.imaging import color
from clearcut.imaging.types import U8, Buffer, ImageHeader

from . import png_chunks, png_metadata
from .base import ImageFormat, Pixels, Reader, Writer
from .opencv import MAX_PROFILE, TO_RGB, imdecode, split_alpha
from .png_writer import encode_png


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha; ``reduction`` is always 1. Of an animation only the default image is decoded."""
    ihdr = png_chunks.read_ihdr(view)
    table = png_metadata.sample_table(view, ihdr.depth)
    alpha: U8 | None = None
    bare = png_chunks.pixels_only(view)
    if ihdr.depth == 16 or header.has_alpha:
        pixels = imdecode(bare, header, cv2.IMREAD_UNCHANGED)
        if pixels.ndim == 2:  # OpenCV ignores the tRNS chunk of gray images
            alpha = png_metadata.gray_transparency(view, pixels, ihdr.depth)
        rgb, own_alpha = split_alpha(pixels, table if ihdr.depth == 16 else None)
        alpha = own_alpha if alpha is None else alpha
    else:
        rgb = imdecode(bare, header, TO_RGB)
    if table is not None and ihdr.depth != 16:
        rgb = np.asarray(cv2.LUT(rgb, table), np.uint8)
    profile = png_metadata.icc_profile(view, MAX_PROFILE)
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


def encode(pixels: U8, quality: int) -> Buffer:
    """Encode u8[h,w,1|3|4]; ``quality`` is ignored."""
    return encode_png(pixels)


PNG = ImageFormat(
    name="png",
    title="PNG",
    media_type="image/png",
    extension="png",
    reader=Reader(re.compile(rb"\x89PNG\r\n\x1a\n"), png_chunks.read_header, decode),
    writer=Writer(encode, max_side=2**31 - 1),  # PNG 11.2.1
)
