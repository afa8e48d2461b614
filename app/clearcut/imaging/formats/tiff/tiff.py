"""TIFF: gray, RGB, palette and CMYK of 1 to 16 bits, in strips or tiles; of several pages the first."""

from __future__ import annotations

import re
import struct
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from clearcut.errors import UnsupportedFormat
from clearcut.imaging import color
from clearcut.imaging.formats.base import ImageFormat, Pixels, Reader
from clearcut.imaging.formats.opencv import MAX_PROFILE, damaged, raise_if_out_of_memory
from clearcut.imaging.types import ImageHeader, ProbeLimits

from .layout import GRAY_INVERTED, PROFILE, Page, first_page_only, read_page


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of the first page; ``frames`` is 2 if there are more.

    Raises:
        CorruptImage, SuspiciousStructure, TooManyPixels, UnsupportedFormat: as for ``layout.read_page``.
    """
    page = read_page(view, limits)
    frames = 2 if page.directory.has_more else 1
    return ImageHeader(
        "tiff", page.width, page.height, orientation=page.orientation, has_alpha=page.has_alpha, frames=frames
    )


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha with Pillow and libtiff; ``reduction`` is always 1."""
    page = read_page(view, ProbeLimits())
    profile = _profile(view, page)
    try:
        with _open(view, page) as image:
            image.load()
            if page.is_cmyk:
                return color.cmyk_to_srgb(image, profile), None
            pixels = _eight_bits(image, page)
    except (OSError, EOFError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error) as exc:
        raise_if_out_of_memory(header)
        raise damaged(header) from exc
    rgb = np.array(pixels[:, :, :3], np.uint8, order="C")
    alpha = np.ascontiguousarray(pixels[:, :, 3]) if header.has_alpha else None
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


def _open(view: memoryview, page: Page) -> TiffImageFile:
    """Open the first page.

    Raises:
        SyntaxError: the file contradicts itself.
        UnsupportedFormat: Pillow does not read this combination of samples.
    """
    try:
        return TiffImageFile(BytesIO(first_page_only(view, page)))
    except SyntaxError as exc:
        if str(exc) != "unknown pixel mode":
            raise
        kind = f"{page.samples} samples of {page.bits} bits for each pixel"
        raise UnsupportedFormat(f"a TIFF with {kind}; save it as gray or RGB with 8 bits") from exc


def _eight_bits(image: Image.Image, page: Page) -> np.ndarray:
    """Return u8[H,W,3|4]. Gray of 16 bits is rounded to nearest; Pillow itself reduces color of 16 bits."""
    if image.mode.startswith("I;16") or image.mode == "I":
        levels = (np.asarray(image).astype(np.uint32) + 128) // 257
        if page.photometric == GRAY_INVERTED:  # Pillow inverts only gray of up to 8 bits
            levels = 255 - levels
        return np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2)
    if page.is_premultiplied_gray:
        image = Image.frombytes("La", image.size, image.tobytes()).convert("LA")
    return np.asarray(image.convert("RGBA" if page.has_alpha else "RGB"))


def _profile(view: memoryview, page: Page) -> bytes | None:
    entry = page.directory.entries.get(PROFILE)
    if entry is None or entry.end - entry.start > MAX_PROFILE:
        return None
    return bytes(view[entry.start : entry.end])


TIFF = ImageFormat(
    name="tiff",
    title="TIFF",
    media_type="image/tiff",
    extension="tiff",
    other_extensions=("tif",),
    reader=Reader(re.compile(rb"II\*\x00|MM\x00\*"), read_header, decode),
)
