"""Reader of the chunks of a PNG file (W3C PNG, third edition, sections 5 and 11). Pixels are not inflated."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.formats import exif
from clearcut.imaging.formats.deflate import deflate
from clearcut.imaging.formats.dimensions import check_dimensions
from clearcut.imaging.types import ImageHeader, ProbeLimits

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7 passes: first row, first column, row step, column step."""
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


class Region(NamedTuple):
    """A rectangle on the canvas of an animation, in pixels."""

    left: int
    top: int
    width: int
    height: int


class Ihdr(NamedTuple):
    """Fields of the header chunk."""

    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool

    @property
    def inflated_bytes(self) -> int:
        """Bytes of all rows with their filter bytes (PNG 9 and 8.1)."""
        sizes = [(self.width, self.height)]
        if self.interlaced:
            sizes = [
                (-(-(self.width - left) // across), -(-(self.height - top) // down))
                for top, left, down, across in _PASSES
            ]
        bits = self.depth * _CHANNELS[self.color_type]
        return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def chunks(view: memoryview) -> Iterator[Chunk]:
    """Yield every chunk up to and including IEND. The decoder verifies checksums.

    After the first image data, the file may end anywhere: the data can be complete without the last checksums and
    IEND. The payload of a chunk that extends past the file ends with the file.

    Raises:
        CorruptImage: the file ends before its image data.
    """
    at = 8
    has_data = False
    while at + 8 <= len(view):
        (length,) = struct.unpack_from(">I", view, at)
        kind = bytes(view[at + 4 : at + 8])
        end = at + 8 + length
        has_data = has_data or kind in (b"IDAT", b"IEND")
        if end + 4 > len(view) and not has_data:
            raise CorruptImage("The PNG is truncated inside a chunk")
        yield Chunk(kind, at + 8, min(end, len(view)))
        if kind == b"IEND":
            return
        at = end + 4
    if not has_data:
        raise CorruptImage("The PNG is truncated: it ends before its image data")


def has_valid_checksum(view: memoryview, chunk: Chunk) -> bool:
    """Return whether the chunk is complete and its checksum is right."""
    stored = bytes(view[chunk.end : chunk.end + 4])
    return len(stored) == 4 and deflate.crc32(view[chunk.start - 4 : chunk.end]) == int.from_bytes(stored, "big")


def read_ihdr(view: memoryview) -> Ihdr:
    """Read the header chunk.

    Raises:
        CorruptImage: the chunk is missing, or its fields contradict the specification.
        UnsupportedFormat: the file is Apple's private variant.
    """
    first = next(chunks(view))
    if first.kind == b"CgBI":
        raise UnsupportedFormat("Apple's private PNG variant (CgBI)", "export the image as JPEG or a standard PNG")
    if first.kind != b"IHDR" or first.end - first.start != 13:
        raise CorruptImage("The PNG does not start with a header chunk")
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
    first_frame = FirstFrame()
    ended = False
    for chunk in chunks(view):
        size = chunk.end - chunk.start
        first_frame.add(view, chunk)
        ended = chunk.kind == b"IEND" and has_valid_checksum(view, chunk)
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
    region = first_frame.region(ihdr)
    if region is not None and (region.width, region.height) != (ihdr.width, ihdr.height):
        has_alpha = True  # the frame does not cover the canvas, which is transparent
    return ImageHeader(
        "png", ihdr.width, ihdr.height, orientation=orientation, has_alpha=has_alpha, frames=frames,
        needs_repair=not (ended and has_valid_checksum(view, next(chunks(view)))),
    )  # fmt: skip


class FirstFrame:
    """The first frame of an animation with a default image that is not one of its frames (PNG 11.3.6)."""

    def __init__(self) -> None:
        self.data: list[Chunk] = []
        """The fdAT chunks of the frame."""
        self._control: bytes | None = None
        self._animated = self._hidden = self._finished = False

    def add(self, view: memoryview, chunk: Chunk) -> None:
        """Add the next chunk of the file."""
        if chunk.kind == b"acTL" and not self._hidden:
            self._animated = True
        elif chunk.kind == b"IDAT":
            self._hidden = True
        elif chunk.kind == b"fcTL":
            if not self._hidden or self._control is not None:
                self._finished = True
            elif chunk.end - chunk.start == 26:
                self._control = bytes(view[chunk.start : chunk.end])
        elif chunk.kind == b"fdAT" and self._control is not None and not self._finished and chunk.end - chunk.start > 4:
            self.data.append(chunk)

    def region(self, ihdr: Ihdr) -> Region | None:
        """Return the place of the frame; None if the default image is the first frame, or the frame is invalid."""
        if not self._animated or self._control is None or not self.data:
            return None
        width, height, left, top = struct.unpack_from(">4I", self._control, 4)
        if not (0 < width <= ihdr.width - left and 0 < height <= ihdr.height - top):
            return None
        return Region(left, top, width, height)


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
