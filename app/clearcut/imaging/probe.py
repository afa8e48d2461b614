"""probe: what a file is and how large it will be, from its structure alone.

Runs on bytes that nobody has vouched for, so it reads them with our own walkers and never with an image library:
each is bounded in steps and in memory by ``ProbeLimits`` whatever the bytes say, and refuses the structures that cost
a decoder far more than they cost to send (many scans, floods of chunks, splintered data, sizes that cannot be true).
Nothing is inflated and no checksum over the data is computed.
"""

from __future__ import annotations

from clearcut.errors import UnsupportedFormat
from clearcut.imaging.formats.signatures import detect_format

from .formats import jpeg_segments, png_chunks, webp_chunks
from .types import Buffer, ImageHeader, ProbeLimits

_WALKERS = {"jpeg": jpeg_segments.walk, "png": png_chunks.walk, "webp": webp_chunks.walk}


def probe(data: Buffer, limits: ProbeLimits) -> ImageHeader:
    """The header of an image file; width and height as stored, before its orientation is applied.

    The orientation is EXIF's (JPEG APP1, PNG eXIf, WebP EXIF); a broken EXIF block counts as none, XMP is not read.
    Bytes behind the end of the image are ignored.

    Raises:
        UnsupportedFormat: neither JPEG, PNG nor WebP; names what was found.
        CorruptImage: truncated, or the header contradicts itself or the data.
        TooManyPixels: the size is above ``limits``.
        SuspiciousStructure: more scans, segments or chunks than ``limits`` allow, or several frame headers.
    """
    view = memoryview(data).cast("B")
    found = detect_format(view)
    walker = _WALKERS.get(found)
    if walker is None:
        raise UnsupportedFormat(found)
    return walker(view, limits)
