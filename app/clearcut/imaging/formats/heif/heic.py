"""HEIC (HEVC still images in HEIF): images, grids and alpha, decoded with the optional package ``pi_heif``."""

from __future__ import annotations

import importlib
import re
from io import BytesIO
from typing import Any

import numpy as np

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.formats.base import ImageFormat, Pixels, Reader
from clearcut.imaging.formats.opencv import damaged, raise_if_out_of_memory
from clearcut.imaging.types import ImageHeader, ProbeLimits

from . import hevc
from .boxes import Item
from .images import Codec, property_of, read_image
from .rebuild import rebuild
from .still import decoded, header_of

MIN_LIBHEIF, MIN_LIBDE265 = (1, 23, 7), (1, 1, 3)
"""Oldest versions that are used: they fix all vulnerabilities known in November 2026 (SECURITY.md, "HEIC")."""
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_LARGEST_BLOCK = 64
"""Largest coding block of HEVC in pixels: coded sizes are multiples of the block size."""


def decoder() -> Any | None:
    """Return the module ``pi_heif``; None if it is missing or contains an older library than the minimum."""
    try:
        module = importlib.import_module("pi_heif")
        texts = module.libheif_version(), module.libheif_info()["decoders"]["libde265"]
    except (ImportError, AttributeError, KeyError):
        return None
    found = [_VERSION.search(text) for text in texts]
    versions = [tuple(map(int, each.groups())) if each else (0,) for each in found]
    return module if versions[0] >= MIN_LIBHEIF and versions[1] >= MIN_LIBDE265 else None


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of a HEIC.

    Raises:
        CorruptImage, SuspiciousStructure, TooManyPixels: as for ``images.read_image``.
        UnsupportedFormat: as for ``images.read_image``, or this server has no decoder.
    """
    if decoder() is None:
        minimum = ".".join(map(str, MIN_LIBHEIF))
        raise UnsupportedFormat(
            f"HEIC, and this server has no HEIC decoder (pi_heif with libheif {minimum} or newer); export it as JPEG"
        )
    return header_of("heic", view, read_image(view, limits, CODEC))


def decode(view: memoryview, header: ImageHeader, reduction: int) -> Pixels:
    """Decode to sRGB and alpha; ``reduction`` is always 1. Samples of 10 bits are reduced to 8."""
    module = decoder()
    if module is None:
        raise damaged(header)
    image = read_image(view, ProbeLimits(), CODEC)
    module.options.DECODE_THREADS = 1
    try:
        opened = module.open_heif(BytesIO(rebuild(view, image, CODEC, b"heic")), convert_hdr_to_8bit=True)
        if opened.mode not in ("RGB", "RGBA", "L"):
            opened.convert_to("RGBA" if opened.has_alpha else "RGB")
        pixels = np.array(opened)  # a copy, because ``opened`` owns the memory
    except (OSError, EOFError, SyntaxError, ValueError, RuntimeError) as exc:
        raise_if_out_of_memory(header)
        raise damaged(header) from exc
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return decoded(view, image, pixels, header)


def _check(item: Item, data: bytes, view: memoryview, size: tuple[int, int], max_units: int) -> None:
    box = property_of(item, b"hvcC")
    if box is None:
        raise CorruptImage("The HEIC has no decoder configuration")
    length_size, sizes = hevc.sizes_in_configuration(view[box.start : box.end])
    width, height = size
    for coded in sizes:
        if (coded.cropped_width, coded.cropped_height) != size or not (
            width <= coded.width < width + _LARGEST_BLOCK and height <= coded.height < height + _LARGEST_BLOCK
        ):
            raise SuspiciousStructure("The HEIC declares another size than its image data has")
    hevc.check_units(data, length_size, max_units)


CODEC = Codec(b"hvc1", b"hvcC", _check)

HEIC = ImageFormat(
    name="heic",
    title="HEIC",
    media_type="image/heic",
    extension="heic",
    other_extensions=("heif", "hif"),
    reader=Reader(
        re.compile(
            rb".{4}ftyp(?:hei[cxms]|hev[cxms]|(?:mif[12]|msf1|miaf).{4}(?:.{4}){0,15}?(?:hei[cxms]|hev[cx]))", re.DOTALL
        ),
        read_header,
        decode,
        available=lambda: decoder() is not None,
    ),
)
