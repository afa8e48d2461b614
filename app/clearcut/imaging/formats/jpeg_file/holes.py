"""Lost parts of the data of a JPEG that libjpeg does not report: holes of zeros and missing restart intervals."""

from __future__ import annotations

import numpy as np

from . import segments as jpeg_segments
from .segments import DATA_END, EOI, FRAMES, SOS

_DHT, _DRI = 0xC4, 0xDD
_SEQUENTIAL = frozenset({0xC0, 0xC1})
"""Frames of sequential images with Huffman codes."""
_STEP = 128
ZERO_RUN = bytes(2 * _STEP)
"""The shortest hole that is detected. Disks and file systems lose blocks of 512 bytes or more."""


def has_hole(data: bytes | memoryview, left_over: int = 0) -> bool:
    """Return whether the data of a sequential image in one scan contains a run of zeros that no encoder writes.

    In the tables of T.81 annex K, zeros are blocks full of small coefficients. Only with tables for flat images, in
    which the code of zeros ends a block, an encoder writes such runs: then the result is False. Scans of progressive
    images and of single components have long runs of zeros in flat images too, so the result is False for them.

    Args:
        left_over: bytes after the last block, before the end of the file or its end marker.
    """
    view = memoryview(data)
    zero = np.frombuffer(view, np.uint8)[::_STEP] == 0
    if not (zero[:-1] & zero[1:]).any():
        return False
    begin = 0
    found = False
    zeros_end_blocks = True
    scans = 0
    for segment in jpeg_segments.segments(view):
        if begin:
            end = segment.start - 4
            if segment.marker in (EOI, DATA_END):
                end = segment.start - (2 if segment.marker == EOI else 0) - left_over
            found = found or ZERO_RUN in bytes(view[begin:end])
            begin = 0
        if segment.marker == SOS:
            begin = segment.end
            scans += 1
        elif segment.marker in FRAMES and segment.marker not in _SEQUENTIAL:
            return False
        elif segment.marker == _DHT:
            zeros_end_blocks = zeros_end_blocks and _zeros_end_blocks(view[segment.start : segment.end])
    return found and scans == 1 and not zeros_end_blocks


def lacks_restarts(data: bytes) -> bool:
    """Return whether a sequential image with restart intervals in one scan has fewer of them than its size needs.

    libjpeg skips data without a restart marker and fills the rest of the image with gray.
    """
    view = memoryview(data)
    interval = blocks = expected = markers = begin = 0
    for segment in jpeg_segments.segments(view):
        if begin:
            codes = np.frombuffer(view[begin : segment.start], np.uint8)
            markers += int(np.count_nonzero((codes[:-1] == 0xFF) & ((codes[1:] & 0xF8) == 0xD0)))
            begin = 0
        body = view[segment.start : segment.end]
        if segment.marker == _DRI and len(body) == 2:
            interval = int.from_bytes(body, "big")
        elif segment.marker in FRAMES:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            factors = [body[7 + 3 * index] for index in range(body[5])]
            across, down = max(each >> 4 for each in factors), max(each & 15 for each in factors)
            if len(factors) > 1:
                blocks = -(-width // (8 * max(1, across))) * -(-height // (8 * max(1, down)))
            else:
                blocks = -(-width // 8) * -(-height // 8)
        elif segment.marker == SOS:
            begin = segment.end
            expected += -(-blocks // interval) - 1 if interval else 0
    return markers < expected


def _zeros_end_blocks(tables: memoryview) -> bool:
    """Return whether the code of zeros means "end of block" in each AC table of a DHT segment (T.81 B.2.4.2)."""
    at = 0
    while at + 18 <= len(tables):
        if tables[at] >> 4 == 1 and tables[at + 17] != 0:
            return False
        at += 17 + sum(tables[at + 1 : at + 17])
    return True
