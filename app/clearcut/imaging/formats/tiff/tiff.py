"""TIFF: gray, RGB, palette and CMYK of 1 to 16 bits, in strips or tiles; of several pages the first."""

from __future__ import annotations

import re
import struct
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from clearcut.errors import UnsupportedFormat
from clearcut.imaging import color
from clearcut.imaging.formats.base import ImageFormat, Pixels, Reader
from clearcut.imaging.formats.opencv import MAX_PROFILE, damaged, raise_if_out_of_memory
from clearcut.imaging.types import ImageHeader, ProbeLimits

from .layout import PROFILE, Page, first_page_only, plane_only, read_page


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
        image = _from_planes(view, page) if page.planes > 1 else _load(first_page_only(view, page), page)
        if page.is_cmyk:
            return color.cmyk_to_srgb(image, profile), None
        pixels = _eight_bits(image, page)
    except (OSError, EOFError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error) as exc:
        raise_if_out_of_memory(header)
        raise damaged(header) from exc
    rgb = np.array(pixels[:, :, :3], np.uint8, order="C")
    alpha = np.ascontiguousarray(pixels[:, :, 3]) if header.has_alpha else None
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


def _load(data: bytes, page: Page) -> Image.Image:
    """Decode a file that has one directory.

    Raises:
        SyntaxError: the file contradicts itself.
        UnsupportedFormat: Pillow does not read this combination of samples.
    """
    try:
        with TiffImageFile(BytesIO(data)) as image:
            image.load()
            return image
    except SyntaxError as exc:
        if str(exc) != "unknown pixel mode":
            raise
        kind = f"{page.samples} samples of {page.bits} bits for each pixel"
        raise UnsupportedFormat(f"a TIFF with {kind}; save it as gray or RGB with 8 bits") from exc


def _from_planes(view: memoryview, page: Page) -> Image.Image:
    """Decode the planes of colors and alpha, each as one image, and merge them.

    Pillow decodes several planes wrongly: it reads 16 bits as 8, and loses the alpha of gray images.
    """
    planes: list[Image.Image] = []
    for number in range(page.colors + page.has_alpha):
        plane = _load(plane_only(view, page, number), page)
        if page.is_palette and number == 0:
            planes += plane.convert("RGB").split()
        else:
            planes.append(Image.fromarray(_levels(plane)))
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "CMYK" if page.is_cmyk else "RGBA"}[len(planes)]
    merged = Image.merge(mode, planes)
    del planes  # one byte for each sample
    if page.is_premultiplied:
        merged = _to_straight(merged)
    if page.is_inverted:
        inverted, *alpha = merged.split()
        merged = Image.merge(mode, [ImageOps.invert(inverted), *alpha])
    return merged


def _to_straight(image: Image.Image) -> Image.Image:
    """Divide color by alpha in an image of mode LA or RGBA with premultiplied samples."""
    return Image.frombytes(image.mode[:-1] + "a", image.size, image.tobytes()).convert(image.mode)


def _eight_bits(image: Image.Image, page: Page) -> np.ndarray:
    """Return u8[H,W,3|4]. Pillow itself reduces color of 16 bits."""
    if _has_16_bits(image):
        levels = _levels(image)
        return np.repeat((255 - levels if page.is_inverted else levels)[:, :, None], 3, axis=2)
    if page.is_premultiplied_gray:
        image = _to_straight(image)
    return np.asarray(image.convert("RGBA" if page.has_alpha else "RGB"))


def _levels(image: Image.Image) -> np.ndarray:
    """Return the levels of a gray image as u8[H,W]; 16 bits are rounded to nearest."""
    if _has_16_bits(image):
        levels = np.asarray(image).astype(np.uint32)
        levels += 128
        levels //= 257
        return levels.astype(np.uint8)
    return np.asarray(image.convert("L"))


def _has_16_bits(image: Image.Image) -> bool:
    return image.mode.startswith("I")


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
