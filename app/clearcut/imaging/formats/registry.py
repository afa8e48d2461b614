"""The list of image formats. To add a format, write one module and add its definition to ``FORMATS``.

``/v1/info``, the OpenAPI document, the option ``format``, media types, file name extensions and the formats of the
remove.bg and Photoroom dialects derive from this list. The Apiframe dialect has its own list of output
formats.
"""

from __future__ import annotations

from .base import ImageFormat, Reader, Writer
from .bmp import BMP
from .gif import GIF
from .heif.avif import AVIF
from .heif.heic import HEIC
from .jpeg import JPEG
from .png import PNG
from .tiff import TIFF
from .webp import WEBP
from .zip import ZIP

FORMATS: tuple[ImageFormat, ...] = (
    PNG,
    JPEG,
    WEBP,
    AVIF,
    ZIP,
    HEIC,
    GIF,
    BMP,
    TIFF,
)

INPUT_FORMATS = tuple(
    sorted((each for each in FORMATS if each.reader and each.reader.available()), key=lambda each: each.name)
)
"""Formats that this installation can read."""
OUTPUT_FORMATS = tuple(each for each in FORMATS if each.writer)

READERS: dict[str, Reader] = {each.name: each.reader for each in FORMATS if each.reader}
"""By ``ImageHeader.format``."""
WRITERS: dict[str, Writer] = {each.extension: each.writer for each in FORMATS if each.writer}
"""By value of the option ``format``."""

IMAGE_WRITERS = tuple(name for name, writer in WRITERS.items() if writer.is_image)
"""Values of the option ``format`` that give one image, not an archive."""
INPUT_EXTENSIONS = tuple(
    dict.fromkeys(name for each in INPUT_FORMATS for name in (each.extension, each.name, *each.other_extensions))
)
INPUT_MEDIA_TYPES = tuple(each.media_type for each in INPUT_FORMATS)
OUTPUT_MEDIA_TYPES = tuple(each.media_type for each in OUTPUT_FORMATS)
IMAGE_MEDIA_TYPES = tuple(each.media_type for each in OUTPUT_FORMATS if each.extension in IMAGE_WRITERS)
MEDIA_TYPES: dict[str, str] = {each.extension: each.media_type for each in OUTPUT_FORMATS}
"""By value of the option ``format``."""
EXTENSIONS: dict[str, str] = {each.media_type: each.extension for each in FORMATS}
"""By media type."""


def detect_format(view: memoryview) -> ImageFormat | None:
    """Find the format of a file by its first bytes; None if no reader accepts it."""
    return next((each for each in FORMATS if each.reader and each.reader.signature.match(view)), None)
