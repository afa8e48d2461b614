"""The definition of an image format: how to recognize, read and write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from clearcut.imaging.types import U8, Buffer, ImageHeader, ProbeLimits

Pixels = tuple[U8, U8 | None]
"""(RGB u8[H,W,3], alpha u8[H,W] or None): sRGB, as stored, before the EXIF orientation is applied."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How to read files of a format."""

    signature: re.Pattern[bytes]
    """Matches the first bytes of a file of this format."""
    probe: Callable[[memoryview, ProbeLimits], ImageHeader]
    """Read the header without decoding pixels, and enforce the limits."""
    decode: Callable[[memoryview, ImageHeader, int], Pixels]
    """(file, header, reduction): decode the pixels; the reduction is 1 or one of ``reductions``."""
    reductions: tuple[int, ...] = ()
    """Factors, largest first, by which the decoder can reduce an image for less than the cost of decoding it."""
    available: Callable[[], bool] = lambda: True
    """Whether the decoder is installed. ``probe`` raises UnsupportedFormat otherwise."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How to write files of a format."""

    encode: Callable[[U8, int], Buffer]
    """(u8[h,w,1|3|4], quality 1..100) to a file; the quality is 0 for formats without one."""
    max_side: int
    """Longest side in pixels that the format or its encoder allows."""
    max_pixels: int | None = None
    """Largest area that is encoded, because the encoder needs more memory for a pixel than the others; None: any."""
    memory_factor: float = 1
    """Memory of the encoder for a pixel, as a multiple of the memory that the service reserves for a decoded pixel."""
    default_quality: int = 0
    """1..100; 0 means that the format has no quality setting."""
    has_alpha: bool = True
    """Whether the format can store transparency; without it, the output is flattened onto a background."""
    encode_masked: Callable[[U8, U8, int], Buffer] | None = None
    """(rgb u8[h,w,3], alpha u8[h,w], quality): the file of the same image without its RGBA in memory, if possible."""
    is_image: bool = True
    """Whether the file is one image; an archive of images is not."""


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """One format of input files, output files or both."""

    name: str
    """Name of the input format, as in ``ImageHeader.format`` and ``/v1/info``."""
    title: str
    """Name in texts for people."""
    media_type: str
    extension: str
    """File name extension; also the value of the option ``format`` and of the metric label ``format``."""
    other_extensions: tuple[str, ...] = ()
    """Further file name extensions of input files."""
    reader: Reader | None = None
    """None: the format is for output only."""
    writer: Writer | None = None
    """None: the format is for input only."""
