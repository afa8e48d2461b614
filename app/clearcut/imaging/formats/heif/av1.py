"""Image size in AV1 headers (AV1 bitstream specification, sections 5.3, 5.5 and 5.9). Nothing is decoded."""

from __future__ import annotations

from clearcut.errors import CorruptImage, SuspiciousStructure

from .bits import BitReader

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME, _REDUNDANT_FRAME_HEADER = 1, 3, 6, 7
_HEADER_BYTES = 64
"""Bytes of a header that are read; all fields up to the size are in the first 40."""


def sequence_size(data: bytes, max_units: int) -> tuple[int, int]:
    """Return the largest frame size of a coded image, from all its sequence headers.

    Raises:
        CorruptImage: the data is truncated or has no sequence header.
        SuspiciousStructure: too many units, sequence headers that differ, or a frame with a size of its own.
    """
    size: tuple[int, int] | None = None
    at = count = 0
    while at < len(data):
        head = data[at]
        kind, extended, sized = head >> 3 & 15, head >> 2 & 1, head >> 1 & 1
        at, count = at + 1 + extended, count + 1
        length, at = _leb128(data, at) if sized else (len(data) - at, at)
        if count > max_units:
            raise SuspiciousStructure("The AVIF has too many units of image data")
        if at + length > len(data) or length < 0:
            raise CorruptImage("The AVIF is truncated inside its image data")
        body = data[at : at + min(length, _HEADER_BYTES)]
        at += length
        if kind == _SEQUENCE_HEADER:
            found = _size_in_sequence_header(body)
            if size not in (None, found):
                raise SuspiciousStructure("The AVIF has several sequence headers")
            size = found
        elif kind in (_FRAME_HEADER, _FRAME, _REDUNDANT_FRAME_HEADER) and size is None:
            raise CorruptImage("The AVIF has a frame before its sequence header")
    if size is None:
        raise CorruptImage("The AVIF contains no image data")
    return size


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        value |= (byte & 127) << (7 * index)
        if not byte & 128:
            return value, at
    raise CorruptImage("The AVIF has an invalid length")


def _size_in_sequence_header(body: bytes) -> tuple[int, int]:
    """Return the maximum frame size (section 5.5.1)."""
    bits = BitReader(body)
    bits.skip(3 + 1)
    if bits.flag():  # the short header of still images
        bits.skip(5)
    else:
        delays = 0
        model = False
        if bits.flag():  # timing_info_present_flag
            bits.skip(64)
            if bits.flag():
                bits.exp_golomb()
            model = bits.flag()
            if model:
                delays = bits.read(5) + 1
                bits.skip(32 + 10)
        initial_delay = bits.flag()
        for _ in range(bits.read(5) + 1):
            bits.skip(12)
            if bits.read(5) > 7:
                bits.skip(1)
            if model and bits.flag():
                bits.skip(2 * delays + 1)
            if initial_delay and bits.flag():
                bits.skip(4)
    across, down = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(across) + 1, bits.read(down) + 1
