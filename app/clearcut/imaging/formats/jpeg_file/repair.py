"""A copy of a JPEG file without the irregularities that decoders report or refuse although no block is missing."""

from __future__ import annotations

from . import segments as jpeg_segments
from .scans import ScanCoverage
from .segments import ADOBE, APP0, DATA_END, EOI, FRAMES, SOI, SOS, Segment

_METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})
"""APPn segments and comments."""
_JFIF, _ADOBE_ID = b"JFIF\x00", b"Adobe"
_SEQUENTIAL_SCAN = bytes((0, 63, 0))
"""Spectral selection and bit position of every scan of a sequential frame (T.81 table B.3)."""


def repaired(view: memoryview) -> bytes:
    """Return a file with the same coefficients and color transform: one SOI, no padding, no metadata, one EOI.

    The copy has no data after the last block that could be a marker: without an EOI, a sequential image ends at the
    first marker after the scan that completes it.

    Args:
        view: a file that ``jpeg_segments.read_header`` accepts.
    """
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    coverage: ScanCoverage | None = None
    scan_end = 0
    end = 0
    for segment in jpeg_segments.segments(view):
        marker = segment.marker
        if scan_end:  # entropy-coded data up to this segment
            end = segment.start if marker == DATA_END else segment.start - (2 if marker == EOI else 4)
            parts.append(view[scan_end:end])
            scan_end = 0
        if marker in (EOI, DATA_END) or (coverage is not None and not coverage.progressive and coverage.complete):
            break
        whole = view[segment.start - 4 : segment.end]
        if marker in FRAMES:
            coverage = ScanCoverage(marker, view[segment.start : segment.end])
            parts.append(whole)
        elif marker == SOS and coverage is not None:
            coverage.add(view[segment.start : segment.end])
            parts.append(whole if coverage.progressive else bytes(whole[:-3]) + _SEQUENTIAL_SCAN)
            scan_end = segment.end
        elif marker in _METADATA:
            parts.append(_color_segment(view, segment))
        elif marker != SOI:
            parts.append(whole)
    parts.append(b"\xff\xd9")
    return b"".join(parts)


def _color_segment(view: memoryview, segment: Segment) -> bytes:
    """Return a JFIF or Adobe segment, which define the color transform, with valid values; else nothing."""
    body = bytearray(view[segment.start : segment.end])
    if segment.marker == APP0 and body.startswith(_JFIF) and len(body) >= 14:
        return b"\xff\xe0\x00\x10" + _JFIF + b"\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    if segment.marker == ADOBE and body.startswith(_ADOBE_ID) and len(body) >= 12:
        return b"\xff\xee\x00\x0e" + bytes(body[:12])
    return b""
