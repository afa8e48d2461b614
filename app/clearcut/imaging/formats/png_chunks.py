"""Reader of the chunks of a PNG file (W3C PNG, third edition, sections 5 and 11). Pixels are not inflated."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.types import ImageHeader, ProbeLimits

from . import exif
from .dimensions import check_dimensions

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_DATA = frozenset({b"IDAT", b"fdAT", b"fcTL"})
_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_LEAST_DATA_CHUNK = 1024
"""Minimum average size of image data chunks over a long file, in bytes. libpng writes 8192."""
_DEFLATE_BEST = 1032
"""Maximum compression ratio of deflate (RFC 1951: 258 bytes in two bits)."""


class Chunk(NamedTuple):
    """One chunk of the file."""

    kind: bytes
    start: int
    """Offset of the payload."""
    end: int
    """Offset of the first byte after the payload."""


class Ihdr(NamedTuple):
    """Fields of the header chunk."""

    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool


def chunks(view: memoryview) -> Iterator[Chunk]:
    """Yield every chunk up to and including IEND. The decoder verifies checksums.

    Raises:
        CorruptImage: a chunk extends past the file, or IEND is missing.
    """
    at = 8
    while True:
        if at + 12 > len(view):
            raise CorruptImage("The PNG is truncated: it ends before its IEND chunk")
        (length,) = struct.unpack_from(">I", view, at)
        kind = bytes(view[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(view):
            raise CorruptImage("The PNG is truncated inside a chunk")
        yield Chunk(kind, at + 8, end)
        if kind == b"IEND":
            return
        at = end + 4


def read_ihdr(view: memoryview) -> Ihdr:
    """Read the header chunk.

    Raises:
        CorruptImage: the chunk is missing, its checksum is wrong, or its fields contradict the specification.
        UnsupportedFormat: the file is Apple's private variant.
    """
    first = next(chunks(view))
    if first.kind == b"CgBI":
        raise UnsupportedFormat("Apple's private PNG variant (CgBI)")
    if first.kind != b"IHDR" or first.end - first.start != 13:
        raise CorruptImage("The PNG does not start with a header chunk")
    if zlib.crc32(view[first.start - 4 : first.end]) != struct.unpack_from(">I", view, first.end)[0]:
        raise CorruptImage("The PNG's header has an invalid checksum")
    width, height, depth, color_type, compression, filtering, interlace = struct.unpack_from(
        ">IIBBBBB", view, first.start
    )
    if depth not in _DEPTHS.get(color_type, ()) or compression or filtering or interlace > 1:
        raise CorruptImage("The PNG's header is not valid")
    return Ihdr(width, height, depth, color_type, bool(interlace))


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of a PNG; the number of frames of an animation is the one in its acTL chunk.

    Raises:
        CorruptImage: the file is truncated, contradicts itself, or has too little data for its size.
        SuspiciousStructure: more chunks than ``limits`` allow, or image data in very small chunks.
        TooManyPixels: the size is above ``limits``.
        UnsupportedFormat: the file is Apple's private variant.
    """
    ihdr = read_ihdr(view)
    check_dimensions(ihdr.width, ihdr.height, limits)
    has_alpha = ihdr.color_type in (4, 6)
    orientation = frames = 1
    others = data_chunks = data_bytes = idat_bytes = 0
    for chunk in chunks(view):
        size = chunk.end - chunk.start
        if chunk.kind in _DATA:
            data_chunks += 1
            data_bytes += size
            idat_bytes += size if chunk.kind == b"IDAT" else 0
            if data_chunks > limits.max_segments + data_bytes // _LEAST_DATA_CHUNK:
                raise SuspiciousStructure("The PNG's image data has too many chunks")
            continue
        others += 1
        if others > limits.max_segments:
            raise SuspiciousStructure(f"The PNG has more than {limits.max_segments} chunks")
        if chunk.kind == b"tRNS":
            has_alpha = True
        elif chunk.kind == b"eXIf":
            orientation = exif.orientation(view[chunk.start : chunk.end])
        elif chunk.kind == b"acTL" and size == 8:
            frames = max(1, min(struct.unpack_from(">I", view, chunk.start)[0], limits.max_segments))
    if not idat_bytes:
        raise CorruptImage("The PNG contains no image")
    inflated = ihdr.width * ihdr.height * ihdr.depth * _CHANNELS[ihdr.color_type] // 8
    if inflated > idat_bytes * _DEFLATE_BEST:
        raise CorruptImage("The PNG contains too little data for the size in its header")
    return ImageHeader("png", ihdr.width, ihdr.height, orientation=orientation, has_alpha=has_alpha, frames=frames)


def pixels_only(view: memoryview) -> memoryview:
    """Return the file with only the chunks that the pixels need; ``view`` itself if it has no others.

    libpng inflates every compressed text chunk, up to 8 MB each: a flood of them within all limits takes it half a
    minute. Of an animation, the default image remains.
    """
    spans: list[list[int]] = [[0, 8]]
    for chunk in chunks(view):
        if chunk.kind not in _PIXELS:
            continue
        if spans[-1][1] == chunk.start - 8:
            spans[-1][1] = chunk.end + 4
        else:
            spans.append([chunk.start - 8, chunk.end + 4])
    if len(spans) == 1:
        return view
    return memoryview(b"".join(view[start:end] for start, end in spans))
