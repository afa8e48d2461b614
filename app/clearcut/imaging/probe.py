"""probe: find the format and size of a file from its structure, without decoding pixels.

The bytes are untrusted, so the readers in ``formats/`` parse them without an image library. Each reader has bounded
steps and memory for any input, and refuses structures that cost a decoder far more than they cost to send: many scans,
floods of chunks, fragmented data, impossible sizes. Nothing is inflated and no checksum of image data is computed.
"""

from __future__ import annotations

import codecs

from clearcut.errors import UnsupportedFormat

from .formats.registry import INPUT_FORMATS, detect_format
from .formats.unsupported import describe
from .types import Buffer, ImageHeader, ProbeLimits


def probe(data: Buffer, limits: ProbeLimits) -> ImageHeader:
    """Read the header of an image file; width and height are as stored, before the orientation is applied.

    The orientation is EXIF's (JPEG APP1, PNG eXIf, WebP EXIF). A broken EXIF block is ignored, and XMP is not read.
    Bytes after the end of the image are ignored.

    Raises:
        UnsupportedFormat: no registered reader accepts the file; names the detected and the accepted formats.
        CorruptImage: the file is truncated, or the header contradicts itself or the data.
        TooManyPixels: the size is above ``limits``.
        SuspiciousStructure: more scans, segments or chunks than ``limits`` allow, or several frame headers.
    """
    view = memoryview(data).cast("B")
    found = detect_format(view)
    try:
        if found is None and bytes(view[:3]) == codecs.BOM_UTF8 and (inner := detect_format(view[3:])) is not None:
            name = f"{inner.title} after a UTF-8 byte order mark, which a text function added"
            raise UnsupportedFormat(name, "remove the first three bytes, or write the file in binary mode")
        if found is None or found.reader is None:
            raise UnsupportedFormat(*describe(view))
        return found.reader.probe(view, limits)
    except UnsupportedFormat as exc:
        exc.accepted = ", ".join(each.title for each in INPUT_FORMATS)
        raise
