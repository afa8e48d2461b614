"""The marker segments of a JPEG file (ITU-T T.81 annex B), walked without decoding a coefficient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.types import ImageHeader, ProbeLimits

from . import exif
from .dimensions import check_dimensions

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
APP1, APP2 = 0xE1, 0xE2
_ADOBE = 0xEE
_METADATA = frozenset({*range(0xE0, 0xF0), 0xFE}) - {_ADOBE}
"""APPn and comments, but for the one that says how colour is coded."""
_HONEST_SCANS = 16
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODABLE_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Sequential and progressive DCT, Huffman or arithmetic; not lossless, not hierarchical."""

_MAX_GAP = 1 << 16
"""Bytes between two segments of the header that decoders would skip. Cameras that pad there use a few kilobytes."""

_FIRST_WINDOW, _LAST_WINDOW = 1 << 12, 1 << 18


class Segment(NamedTuple):
    marker: int
    start: int
    """First byte of the payload, behind the length."""
    end: int


def segments(view: memoryview) -> Iterator[Segment]:
    """Every segment from SOI up to and including the first EOI (empty payload), lazily.

    Walking from scan to scan, rather than counting 0xFFDA in the file, is what makes the count exact: a thumbnail in
    an APPn segment, a second picture after EOI (MPO) or marker bytes hidden in a comment between two scans do not
    count. The file is read once, whatever it holds.

    Raises:
        CorruptImage: a segment leaves the file, a marker has no business here, or there is no EOI.
        SuspiciousStructure: much filling between the segments of the header.
    """
    data = np.frombuffer(view, np.uint8)
    at, scanning = 2, False
    while True:
        behind, at = at, _next_marker(data, at)
        if at < 0:
            raise CorruptImage("The JPEG is truncated: it ends before its end-of-image marker")
        if at - behind > _MAX_GAP and not scanning:
            raise SuspiciousStructure("The JPEG has a gap between its segments")
        marker = view[at + 1]
        if marker == EOI:
            yield Segment(EOI, at + 2, at + 2)
            return
        if marker < 0xC0 or marker == SOI:
            raise CorruptImage(f"The JPEG has a stray marker 0xFF{marker:02X}")
        length = int.from_bytes(view[at + 2 : at + 4], "big")
        end = at + 2 + length
        if end > len(view):
            raise CorruptImage("The JPEG is truncated inside a segment")
        if length < 2:
            raise CorruptImage("The JPEG has a segment shorter than its own length field")
        yield Segment(marker, at + 4, end)
        scanning = scanning or marker == SOS
        at = end


def read_header(view: memoryview, limits: ProbeLimits) -> ImageHeader:
    """The header of a JPEG.

    Raises:
        CorruptImage, UnsupportedFormat (12-bit, lossless or hierarchical), TooManyPixels.
        SuspiciousStructure: more scans or segments than ``limits`` allow, or several frame headers.
    """
    size: tuple[int, int] | None = None
    orientation: int | None = None
    frames = 1
    scans = 0
    for count, segment in enumerate(segments(view)):
        if count > limits.max_segments:
            raise SuspiciousStructure(f"The JPEG has more than {limits.max_segments} segments")
        if segment.marker == SOS:
            scans += 1
            if size is None:
                raise CorruptImage("The JPEG has a scan before its frame header")
            allowed = _scans_allowed(size[0] * size[1], limits)
            if scans > allowed:
                raise SuspiciousStructure(
                    f"The JPEG has more than {allowed} scans; save it as baseline or with fewer scans"
                )
        elif segment.marker in _FRAMES:
            if size is not None:
                raise SuspiciousStructure("The JPEG has several frame headers")
            size = _frame(segment, view)
            check_dimensions(*size, limits)
        elif scans:
            continue
        elif segment.marker == APP1 and orientation is None and _starts(view, segment, b"Exif\x00\x00"):
            orientation = exif.orientation(view[segment.start : segment.end])
        elif segment.marker == APP2 and _starts(view, segment, b"MPF\x00"):
            frames = 2
    if size is None or not scans:
        raise CorruptImage("The JPEG contains no image")
    if size[0] * size[1] > 64 * 8 * len(view):  # every 8 x 8 block of a first scan takes a bit at least (T.81, F.1.2)
        raise CorruptImage(f"The JPEG claims {size[0]} x {size[1]} pixels and contains too little data for them")
    return ImageHeader("jpeg", *size, orientation=orientation or 1, frames=frames)


def icc_profile(view: memoryview, max_bytes: int) -> bytes | None:
    """The embedded profile, joined from its APP2 parts (ICC.1:2022 annex B.4), or None if absent or broken."""
    parts: dict[int, memoryview] = {}
    total = 0
    for segment in segments(view):
        if segment.marker in (SOS, EOI):
            break
        if segment.marker == APP2 and _starts(view, segment, b"ICC_PROFILE\x00") and segment.end - segment.start > 14:
            number, total = view[segment.start + 12], view[segment.start + 13]
            parts[number] = view[segment.start + 14 : segment.end]
    if not parts or sorted(parts) != list(range(1, total + 1)) or sum(map(len, parts.values())) > max_bytes:
        return None
    return b"".join(parts[number] for number in sorted(parts))


def pixels_only(view: memoryview) -> bytes:
    """The same picture without metadata: what a decoder does not get it cannot misread."""
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    for segment in segments(view):
        whole = slice(segment.start - 4, segment.end)
        if segment.marker == SOS:
            parts.append(view[whole.start :])
            break
        if segment.marker not in _METADATA:
            parts.append(view[whole])
    return b"".join(parts)


def _frame(segment: Segment, view: memoryview) -> tuple[int, int]:
    """(width, height) from a frame header (T.81 B.2.2)."""
    body = view[segment.start : segment.end]
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise CorruptImage("The JPEG has an incomplete frame header")
    if segment.marker not in _DECODABLE_FRAMES:
        raise UnsupportedFormat("lossless or hierarchical JPEG")
    if body[0] != 8:
        raise UnsupportedFormat(f"{body[0]}-bit JPEG")
    if body[5] not in (1, 3, 4):
        raise CorruptImage(f"The JPEG has {body[5]} colour components")
    return int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")


def components(view: memoryview) -> int:
    """Colour components of a JPEG that ``read_header`` accepts: 1 grey, 3 colour, 4 CMYK or YCCK."""
    for segment in segments(view):
        if segment.marker in _FRAMES and segment.end - segment.start >= 6:
            return view[segment.start + 5]
    raise CorruptImage("The JPEG contains no image")


def _starts(view: memoryview, segment: Segment, prefix: bytes) -> bool:
    return bytes(view[segment.start : min(segment.end, segment.start + len(prefix))]) == prefix


def _next_marker(data: np.ndarray[tuple[int], np.dtype[np.uint8]], at: int) -> int:
    """Where the next marker's 0xFF is, at or after ``at``; -1 when there is none.

    Looked for in windows that grow, so that a segment right here costs nothing and entropy-coded data is read at
    memory speed with a small, fixed amount of memory, whatever is in it.
    """
    window = _FIRST_WINDOW
    while at + 1 < data.size:
        block = data[at : at + window + 1]
        code = block[1:]
        # stuffing 00, TEM 01, restarts D0..D7 and fill FF stand for themselves; decoders walk over them too
        hits = (block[:-1] == 0xFF) & (code > 0x01) & (code != 0xFF) & ((code & 0xF8) != 0xD0)
        first = int(hits.argmax())
        if hits[first]:
            return at + first
        at += window
        window = min(window * 2, _LAST_WINDOW)
    return -1


def _scans_allowed(pixels: int, limits: ProbeLimits) -> int:
    """Each scan costs a pass over the picture: a large one may have fewer. Encoders write about ten."""
    return min(limits.max_scans, max(_HONEST_SCANS, _HONEST_SCANS * limits.max_pixels // max(1, pixels)))
