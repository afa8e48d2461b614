"""PNG (W3C PNG, third edition): all color types and bit depths, interlaced or not; of an animation the first frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from clearcut.errors import CorruptImage
from clearcut.imaging import color
from clearcut.imaging.types import U8, Buffer, ImageHeader, Samples

from .base import ImageFormat, Pixels, Reader, Writer
from .opencv import MAX_PROFILE, TO_RGB, imdecode, split_alpha
from .png_file import animation, metadata, repair
from .png_file import chunks as png_chunks
from .png_file.writer import encode_masked_png, encode_png


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha; ``reduction`` is always 1.

    An animation with a damaged first frame gives its default image.
    """
    frame = animation.first_frame(view)
    if frame is not None:
        left, top, width, height = frame.region
        part = ImageHeader("png", width, height, has_alpha=header.has_alpha)
        try:
            return _on_canvas(_decode_image(frame.file, part, view), header, left, top)
        except CorruptImage:
            pass
    return _decode_image(view, header, view)


def encode(pixels: U8, quality: int) -> Buffer:
    """Encode u8[h,w,1|3|4]; ``quality`` is ignored."""
    return encode_png(pixels)


def encode_masked(rgb: U8, alpha: U8, quality: int) -> Buffer:
    """Encode u8[h,w,3] and u8[h,w]; ``quality`` is ignored."""
    return encode_masked_png(rgb, alpha)


def _decode_image(view: memoryview, header: ImageHeader, colors: memoryview) -> Pixels:
    """Decode the IDAT chunks of a file.

    Args:
        colors: the file with the chunks about colors.
    """
    ihdr = png_chunks.read_ihdr(view)
    alpha: U8 | None = None
    points = metadata.coding_points(colors, ihdr.depth)
    table = metadata.sample_table(colors, ihdr.depth)
    to_srgb: Callable[[Samples], U8] | None = None
    if points is not None and not points.is_srgb:
        to_srgb = points.convert
    elif table is not None:
        to_srgb = partial(np.take, table)
    if ihdr.depth == 16 or header.has_alpha:
        pixels = _libpng(view, header, ihdr, cv2.IMREAD_UNCHANGED)
        if pixels.ndim == 2:  # OpenCV ignores the tRNS chunk of gray images
            alpha = metadata.gray_transparency(view, pixels, ihdr.depth)
        rgb, own_alpha = split_alpha(pixels, to_srgb)
        alpha = own_alpha if alpha is None else alpha
    else:
        rgb = _libpng(view, header, ihdr, TO_RGB)
        if table is not None:
            rgb = np.asarray(cv2.LUT(rgb, table), np.uint8)
        elif to_srgb is not None:
            rgb = to_srgb(rgb)
    profile = metadata.icc_profile(colors, MAX_PROFILE) if points is None else None
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


def _libpng(view: memoryview, header: ImageHeader, ihdr: png_chunks.Ihdr, flags: int) -> U8:
    """Decode with OpenCV; a file that libpng refuses for its checksums or its end is repaired first.

    libpng does not accept a missing Adler-32 either, which shows only when the data is decompressed.
    """
    if header.needs_repair or repair.needs_repair(view, ihdr):
        return imdecode(repair.repaired(view), header, flags)
    try:
        return imdecode(png_chunks.pixels_only(view), header, flags)
    except CorruptImage:
        return imdecode(repair.repaired(view), header, flags)


def _on_canvas(pixels: Pixels, header: ImageHeader, left: int, top: int) -> Pixels:
    """Place a frame on a transparent canvas; its own pixels are returned unchanged if they fill it."""
    rgb, alpha = pixels
    height, width = rgb.shape[:2]
    if (width, height) == (header.width, header.height):
        return pixels
    canvas = np.zeros((header.height, header.width, 3), np.uint8)
    mask = np.zeros((header.height, header.width), np.uint8)
    canvas[top : top + height, left : left + width] = rgb
    mask[top : top + height, left : left + width] = 255 if alpha is None else alpha
    return canvas, mask


PNG = ImageFormat(
    name="png",
    title="PNG",
    media_type="image/png",
    extension="png",
    reader=Reader(re.compile(rb"\x89PNG\r\n\x1a\n"), png_chunks.read_header, decode),
    writer=Writer(encode, max_side=2**31 - 1, encode_masked=encode_masked),  # PNG 11.2.1
)
