"""Reader of the marker segments of a JPEG file (ITU-T T.81 annex B). Coefficients are not decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.formats import exif
from clearcut.imaging.formats.dimensions import check_dimensions
from clearcut.imaging.types import ImageHeader, ProbeLimits

from .scans import ScanCoverage

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
APP0, APP1, APP2, ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
_JPEG_LS = 0xF7
"""Frame header of ISO/IEC 14495-1."""
DATA_END = 0
"""Marker of the ``Segment`` for the end of a file without an end-of-image marker: no marker of T.81."""
_USUAL_SCANS = 16
"""Number of scans that any image may have. Encoders write about ten."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODABLE_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Sequential and progressive DCT, Huffman or arithmetic; not lossless, not hierarchical."""
_AFTER_SCAN = frozenset({0xC4, 0xCC, EOI, SOS, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Markers that can follow a scan: tables, the next scan, the number of lines, comments, APPn and the end."""

_EXPORT = "export the image as an 8-bit JPEG"
_MAX_GAP = 1 << 16
"""Maximum bytes of padding between two header segments, which decoders skip. Cameras write a few kilobytes."""

_FIRST_WINDOW, _LAST_WINDOW = 1 << 12, 1 << 18
"""Bytes that the search for a marker reads at a time: at first, and at most."""


class Segment(NamedTuple):
    """One marker segment of the file."""

    marker: int
    start: int
    """Offset of the payload, after the length field."""
    end: int
    """Offset of the first byte after the payload."""


def segments(view: memoryview) -> Iterator[Segment]:
    """Yield every segment after the first SOI, up to and including the first EOI (empty payload).

    Following the segments, instead of searching for 0xFFDA, makes the number of scans exact. A thumbnail in an APPn
    segment, a second image after EOI (MPO) and marker bytes inside a comment do not count. The file is read once.

    Some writers omit EOI, and some phones append other data without it. After a scan, the first bytes that cannot be a
    segment therefore end the image: the last segment is ``DATA_END`` at their offset. Further SOI markers in the header
    have an empty payload.

    Raises:
        CorruptImage: the header is incomplete, or a marker in it is invalid.
        SuspiciousStructure: long padding between header segments.
    """
    data = np.frombuffer(view, np.uint8)
    at, scanning = 2, False
    while True:
        previous = at
        if not _is_marker(view[at : at + 2]):  # each header segment begins where the one before it ends
            at = _next_marker(data, at)
        if at < 0:
            if scanning:
                yield Segment(DATA_END, len(view), len(view))
                return
            raise CorruptImage("The JPEG is truncated: it ends inside its header")
        if at - previous > _MAX_GAP and not scanning:
            raise SuspiciousStructure("The JPEG has a gap between its segments")
        marker = view[at + 1]
        if marker == EOI or (marker == SOI and not scanning):
            at += 2
            yield Segment(marker, at, at)
            if marker == EOI:
                return
            continue
        length = int.from_bytes(view[at + 2 : at + 4], "big")
        end = at + 2 + length
        if scanning and not _follows_scan(view, marker, at, end):
            yield Segment(DATA_END, at, at)
            return
        if marker < 0xC0:
            raise CorruptImage(f"The JPEG has a stray marker 0xFF{marker:02X}")
        if end > len(view):
            raise CorruptImage("The JPEG is truncated inside a segment")
        if length < 2:
            raise CorruptImage("The JPEG has a segment shorter than its own length field")
        yield Segment(marker, at + 4, end)
        scanning = scanning or marker == SOS
        at = end


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """Read the header of a JPEG.

    Raises:
        CorruptImage: the file is truncated or contradicts itself.
        UnsupportedFormat: the JPEG is 12-bit, lossless or hierarchical.
        TooManyPixels: the size is above ``limits``.
        SuspiciousStructure: more scans or segments than ``limits`` allow, or several frame headers.
    """
    size: tuple[int, int] | None = None
    orientation: int | None = None
    coverage: ScanCoverage | None = None
    frames = 1
    scans = 0
    needs_repair = False
    for count, segment in enumerate(segments(view)):
        if count > limits.max_segments:
            raise SuspiciousStructure(f"The JPEG has more than {limits.max_segments} segments")
        if segment.marker in (DATA_END, SOI):
            needs_repair = True
        elif segment.marker == SOS:
            scans += 1
            if size is None or coverage is None:
                raise CorruptImage("The JPEG has a scan before its frame header")
            allowed = _scans_allowed(size[0] * size[1], limits)
            if scans > allowed:
                raise SuspiciousStructure(
                    f"The JPEG has more than {allowed} scans; save it as baseline or with fewer scans"
                )
            coverage.add(view[segment.start : segment.end])
        elif segment.marker in FRAMES:
            if size is not None:
                raise SuspiciousStructure("The JPEG has several frame headers")
            size = _frame_size(segment, view)
            check_dimensions(*size, limits)
            coverage = ScanCoverage(segment.marker, view[segment.start : segment.end])
        elif segment.marker == _JPEG_LS:
            raise UnsupportedFormat("JPEG-LS", _EXPORT)
        elif scans:
            continue
        elif segment.marker == APP1 and orientation is None and starts_with(view, segment, b"Exif\x00\x00"):
            orientation = exif.orientation(view[segment.start : segment.end])
        elif segment.marker == APP2 and starts_with(view, segment, b"MPF\x00"):
            frames = 2
    if size is None or coverage is None or not scans:
        raise CorruptImage("The JPEG contains no image")
    if not coverage.complete:
        raise CorruptImage("The JPEG is truncated: it ends before its last scan")
    if size[0] * size[1] > 64 * 8 * len(view):  # a first scan needs at least one bit per 8 x 8 block (T.81, F.1.2)
        raise CorruptImage(f"The JPEG has a size of {size[0]} x {size[1]} pixels and too little data for it")
    return ImageHeader("jpeg", *size, orientation=orientation or 1, frames=frames, needs_repair=needs_repair)


def icc_profile(view: memoryview, max_bytes: int) -> bytes | None:
    """Join the ICC profile from its APP2 parts (ICC.1:2022 annex B.4); None if it is absent, damaged or too large."""
    parts: dict[int, memoryview] = {}
    total = 0
    for segment in segments(view):
        if segment.marker in (SOS, EOI):
            break
        if (
            segment.marker == APP2
            and starts_with(view, segment, b"ICC_PROFILE\x00")
            and segment.end - segment.start > 14
        ):
            number, total = view[segment.start + 12], view[segment.start + 13]
            parts[number] = view[segment.start + 14 : segment.end]
    if not parts or sorted(parts) != list(range(1, total + 1)) or sum(map(len, parts.values())) > max_bytes:
        return None
    return b"".join(parts[number] for number in sorted(parts))


def components(view: memoryview) -> int:
    """Return the number of components of a JPEG that ``read_header`` accepts: 1 gray, 3 color, 4 CMYK or YCCK."""
    for segment in segments(view):
        if segment.marker in FRAMES and segment.end - segment.start >= 6:
            return view[segment.start + 5]
    raise CorruptImage("The JPEG contains no image")


def starts_with(view: memoryview, segment: Segment, prefix: bytes) -> bool:
    return bytes(view[segment.start : min(segment.end, segment.start + len(prefix))]) == prefix


def _frame_size(segment: Segment, view: memoryview) -> tuple[int, int]:
    """Return (width, height) from a frame header (T.81 B.2.2)."""
    body = view[segment.start : segment.end]
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise CorruptImage("The JPEG has an incomplete frame header")
    if segment.marker not in _DECODABLE_FRAMES:
        raise UnsupportedFormat("lossless or hierarchical JPEG", _EXPORT)
    if body[0] != 8:
        raise UnsupportedFormat(f"{body[0]}-bit JPEG", _EXPORT)
    if body[5] not in (1, 3, 4):
        raise CorruptImage(f"The JPEG has {body[5]} color components")
    return int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")


def _follows_scan(view: memoryview, marker: int, at: int, end: int) -> bool:
    """Return whether the bytes at ``at`` can be a segment after a scan; ``end`` is the end of its payload."""
    if marker not in _AFTER_SCAN or not at + 4 <= end <= len(view):
        return False
    return marker != SOS or (end - at >= 10 and end - at == 8 + 2 * view[at + 4])


def _is_marker(code: memoryview) -> bool:
    """Return whether two bytes are the marker of a segment. Stuffing 00, TEM 01, restarts D0..D7 and fill FF are not.

    Decoders skip those too.
    """
    return len(code) == 2 and code[0] == 0xFF and code[1] > 0x01 and code[1] != 0xFF and code[1] & 0xF8 != 0xD0


def _next_marker(data: np.ndarray[tuple[int], np.dtype[np.uint8]], at: int) -> int:
    """Return the offset of the next marker at or after ``at``, or -1.

    The search window grows: a marker close by is found at once, and entropy-coded data is read at memory speed with a
    small, fixed amount of memory.
    """
    window = _FIRST_WINDOW
    while at + 1 < data.size:
        block = data[at : at + window + 1]
        code = block[1:]
        # As in ``_is_marker``.
        hits = (block[:-1] == 0xFF) & (code > 0x01) & (code != 0xFF) & ((code & 0xF8) != 0xD0)
        first = int(hits.argmax())
        if hits[first]:
            return at + first
        at += window
        window = min(window * 2, _LAST_WINDOW)
    return -1


def _scans_allowed(pixels: int, limits: ProbeLimits) -> int:
    """Return the maximum number of scans: each scan is a pass over the image, so a large image may have fewer."""
    return min(limits.max_scans, max(_USUAL_SCANS, _USUAL_SCANS * limits.max_pixels // max(1, pixels)))
