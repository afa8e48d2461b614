"""Reader of the RIFF chunks of a WebP file (RFC 9649). Pixels are not decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure
from clearcut.imaging.types import ImageHeader, ProbeLimits

from . import exif
from .dimensions import check_dimensions

_IMAGES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_ANIMATION, _EXIF, _ALPHA = 0x02, 0x08, 0x10
"""Flags of the VP8X chunk (RFC 9649 section 2.7)."""


class Chunk(NamedTuple):
    """One chunk of the file."""

    kind: bytes
    start: int
    """Offset of the payload."""
    end: int
    """Offset of the first byte after the payload."""


def chunks(view: memoryview) -> Iterator[Chunk]:
    """Yield every chunk of the RIFF container; bytes after the length of the container are ignored.

    Some writers declare a wrong length: 0, or the size of the whole file. A chunk that extends past the declared length
    and not past the file, or no image before it, shows that the length is wrong; the end of the file is used then.

    Raises:
        CorruptImage: a chunk extends past the file.
    """
    if len(view) < 12:
        raise CorruptImage("The WebP is truncated inside its header")
    end = min(declared_end(view), len(view))
    at, has_image = 12, False
    while at + 8 <= end or not has_image:
        if at + 8 > len(view):
            raise CorruptImage("The WebP contains no image")
        kind, length = struct.unpack_from("<4sI", view, at)
        if at + 8 + length > end:
            end = len(view)
        if at + 8 + length > end:
            raise CorruptImage("The WebP is truncated inside a chunk")
        yield Chunk(kind, at + 8, at + 8 + length)
        has_image = has_image or kind in _IMAGES
        at += 8 + length + (length & 1)


def declared_end(view: memoryview) -> int:
    """Return the offset of the end of the container according to its header."""
    return 8 + int(struct.unpack_from("<I", view, 4)[0])


def repaired(view: memoryview) -> bytes:
    """Return a copy with the padding of the last chunk and the right length of the container."""
    end = max(chunk.end for chunk in chunks(view))
    body = bytes(view[8:end]) + bytes(end & 1)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of a WebP; the frames of an animation are counted.

    Raises:
        CorruptImage: the file is truncated, or the canvas and its image differ in size.
        SuspiciousStructure: more chunks than ``limits`` allow.
        TooManyPixels: the size is above ``limits``.
    """
    canvas: tuple[int, int] | None = None
    bitmap: tuple[int, int] | None = None
    has_alpha = animated = needs_exif = False
    orientation = 1
    frames = end = 0
    for count, chunk in enumerate(chunks(view)):
        end = chunk.end + (chunk.end & 1)
        if count >= limits.max_segments:
            raise SuspiciousStructure(f"The WebP has more than {limits.max_segments} chunks")
        body = view[chunk.start : chunk.end]
        if count == 0 and chunk.kind == b"VP8X":
            if len(body) < 10:
                raise CorruptImage("The WebP has an incomplete header")
            has_alpha, animated = bool(body[0] & _ALPHA), bool(body[0] & _ANIMATION)
            needs_exif = bool(body[0] & _EXIF)
            canvas = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
            check_dimensions(*canvas, limits)
        elif chunk.kind in (b"VP8 ", b"VP8L") and bitmap is None:
            width, height, alpha = _lossy_size(body) if chunk.kind == b"VP8 " else _lossless_size(body)
            bitmap = width, height
            has_alpha = has_alpha or alpha
            check_dimensions(*bitmap, limits)
        elif chunk.kind == b"ANMF":
            frames += 1
        elif chunk.kind == b"EXIF":
            orientation = exif.orientation(body)
            needs_exif = False
    size = canvas or bitmap
    if size is None or (bitmap is None and not (animated and frames)):
        raise CorruptImage("The WebP contains no image")
    if not animated and bitmap != size:
        raise CorruptImage("The WebP's header and its image differ in size")
    declared = declared_end(view)
    if needs_exif and declared > len(view):
        raise CorruptImage("The WebP is truncated: its EXIF data is missing")
    return ImageHeader(
        "webp",
        *size,
        orientation=orientation,
        has_alpha=has_alpha,
        frames=max(1, frames),
        needs_repair=end > declared or declared > len(view),
    )


def icc_profile(view: memoryview, max_bytes: int) -> bytes | None:
    """Return the embedded ICC profile; None if it is absent or larger than ``max_bytes``."""
    for chunk in chunks(view):
        if chunk.kind == b"ICCP" and chunk.end - chunk.start <= max_bytes:
            return bytes(view[chunk.start : chunk.end])
    return None


def _lossy_size(body: memoryview) -> tuple[int, int, bool]:
    """Return (width, height, has alpha) from a VP8 key frame header (RFC 6386 section 9.1)."""
    if len(body) < 10 or body[0] & 1 or bytes(body[3:6]) != b"\x9d\x01\x2a":
        raise CorruptImage("The WebP's image data has an invalid start")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF, False


def _lossless_size(body: memoryview) -> tuple[int, int, bool]:
    """Return (width, height, has alpha) from a VP8L header (RFC 9649 section 3.4)."""
    if len(body) < 5 or body[0] != 0x2F:
        raise CorruptImage("The WebP's image data has an invalid start")
    (bits,) = struct.unpack_from("<I", body, 1)
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
