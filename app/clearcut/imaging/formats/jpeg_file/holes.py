"""Lost parts of the data of a JPEG that libjpeg does not report: holes of zeros and missing restart intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from . import segments as jpeg_segments
from .segments import DATA_END, EOI, FRAMES, SOS, Segment

_DHT, _DRI = 0xC4, 0xDD
_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1}), 0xC2
"""Frames with Huffman codes."""
_STEP = 128
ZERO_RUN = bytes(2 * _STEP)
"""The shortest hole that is detected. Disks and file systems lose blocks of 512 bytes or more."""
_READ_AHEAD = 8
"""Bytes that libjpeg reads into its bit buffer before it needs them. It does not report them as left over."""


class _Scan(NamedTuple):
    """The entropy-coded data of one scan."""

    data: memoryview
    """Up to the next segment."""
    final: bool
    """Whether the image ends after this scan."""
    has_zeros: bool
    """Whether an encoder can write long runs of zeros in this scan."""


def has_hole(data: bytes | memoryview, left_over: int = 0) -> bool:
    """Return whether a scan contains a run of zeros that no encoder writes.

    Run-length codes of progressive scans, and zeros in the tables of T.81 annex K, stand for many coefficients each: a
    run of 256 bytes has more of them than any image. Scans of DC coefficients, and tables for flat images in which the
    code of zeros ends a block, can have such runs, so no hole is found in them.

    Args:
        left_over: bytes after the last block, before the end of the file or its end marker.
    """
    view = memoryview(data)
    zero = np.frombuffer(view, np.uint8)[::_STEP] == 0
    if not left_over and not (zero[:-1] & zero[1:]).any():
        return False
    for scan in _scans(view):
        if scan.has_zeros:
            continue
        used = len(scan.data) - (left_over if scan.final else 0)
        if ZERO_RUN in bytes(scan.data[:used]):
            return True
        if scan.final and left_over and _ends_in_zeros(scan.data, used):
            return True
    return False


def _ends_in_zeros(data: memoryview, used: int) -> bool:
    """Return whether the decoder used zeros of the padding at the end of the data, so that data before it is lost."""
    return not any(data[max(0, used - _READ_AHEAD - 1) :])


def _scans(view: memoryview) -> Iterator[_Scan]:
    """Yield the scans of an image with Huffman codes; nothing for other images."""
    frame = 0
    zeros_end_blocks: dict[int, bool] = {}
    header: Segment | None = None
    for segment in jpeg_segments.segments(view):
        if header is not None:
            final = segment.marker in (EOI, DATA_END)
            end = segment.start - {EOI: 2, DATA_END: 0}.get(segment.marker, 4)
            has_zeros = _has_zeros(frame, view[header.start : header.end], zeros_end_blocks)
            yield _Scan(view[header.end : end], final, has_zeros)
            header = None
        if segment.marker == SOS:
            header = segment
        elif segment.marker in FRAMES:
            frame = segment.marker
            if frame not in _SEQUENTIAL and frame != _PROGRESSIVE:
                return
        elif segment.marker == _DHT:
            zeros_end_blocks |= _zeros_end_blocks(view[segment.start : segment.end])


def _has_zeros(frame: int, scan: memoryview, zeros_end_blocks: dict[int, bool]) -> bool:
    """Return whether a scan with this header can have long runs of zeros in a flat image.

    Args:
        scan: payload of the scan header.
        zeros_end_blocks: for each AC table, whether the code of zeros ends a block.
    """
    count = scan[0]
    if frame == _PROGRESSIVE:
        return scan[1 + 2 * count] == 0
    return all(zeros_end_blocks.get(scan[2 + 2 * index] & 15, False) for index in range(count))


def lacks_restarts(data: bytes) -> bool:
    """Return whether a scan with restart intervals has fewer of them than its size needs.

    libjpeg skips data without a restart marker and fills the rest of the scan with gray or leaves it unrefined.
    """
    view = memoryview(data)
    frame: memoryview | None = None
    interval = expected = begin = 0
    for segment in jpeg_segments.segments(view):
        if begin and interval:
            codes = np.frombuffer(view[begin : segment.start], np.uint8)
            if np.count_nonzero((codes[:-1] == 0xFF) & ((codes[1:] & 0xF8) == 0xD0)) < expected:
                return True
        begin = 0
        body = view[segment.start : segment.end]
        if segment.marker == _DRI and len(body) == 2:
            interval = int.from_bytes(body, "big")
        elif segment.marker in FRAMES:
            frame = body
        elif segment.marker == SOS and frame is not None:
            begin = segment.end
            expected = -(-_units(frame, body) // interval) - 1 if interval else 0
    return False


def _units(frame: memoryview, scan: memoryview) -> int:
    """Return the number of minimum coded units of a scan (T.81 A.2): blocks if it has one component."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = {frame[6 + 3 * index]: frame[7 + 3 * index] for index in range(frame[5])}
    across, down = max(1, *(each >> 4 for each in factors.values())), max(1, *(each & 15 for each in factors.values()))
    if scan[0] > 1:
        return -(-width // (8 * across)) * -(-height // (8 * down))
    own = factors.get(scan[1], 0x11) if len(factors) > 1 else across << 4 | down
    return -(-width * (own >> 4) // (8 * across)) * -(-height * (own & 15) // (8 * down))


def _zeros_end_blocks(tables: memoryview) -> dict[int, bool]:
    """Return whether the code of zeros means "end of block", for each AC table of a DHT segment (T.81 B.2.4.2)."""
    found = {}
    at = 0
    while at + 18 <= len(tables):
        if tables[at] >> 4 == 1:
            found[tables[at] & 15] = tables[at + 17] == 0
        at += 17 + sum(tables[at + 1 : at + 17])
    return found
