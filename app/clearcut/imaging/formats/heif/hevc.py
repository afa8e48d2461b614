"""Image size in HEVC headers (ITU-T H.265 section 7.3), and the units of the coded data. Nothing is decoded."""

from __future__ import annotations

from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat

from .bits import BitReader

_VPS, _SPS, _PPS = 32, 33, 34
_MAX_SETS = 16
_MAX_SET_BYTES = 4096


class CodedSize(NamedTuple):
    """Size of the coded image in pixels."""

    width: int
    height: int
    cropped_width: int
    cropped_height: int


def sizes_in_configuration(hvcc: memoryview) -> tuple[int, list[CodedSize]]:
    """Return the bytes of a unit's length field and the size in every sequence parameter set of an hvcC box.

    Raises:
        CorruptImage: the box is truncated or has no parameter set.
        SuspiciousStructure: many or very long parameter sets.
    """
    if len(hvcc) < 23:
        raise CorruptImage("The HEIC has an incomplete decoder configuration")
    length_size = (hvcc[21] & 3) + 1
    sizes: list[CodedSize] = []
    at, count = 23, 0
    for _ in range(hvcc[22]):
        if at + 3 > len(hvcc):
            raise CorruptImage("The HEIC has an incomplete decoder configuration")
        kind, units, at = hvcc[at] & 63, int.from_bytes(hvcc[at + 1 : at + 3], "big"), at + 3
        for _ in range(units):
            size = int.from_bytes(hvcc[at : at + 2], "big")
            unit, at, count = hvcc[at + 2 : at + 2 + size], at + 2 + size, count + 1
            if count > _MAX_SETS or size > _MAX_SET_BYTES:
                raise SuspiciousStructure("The HEIC has too many parameter sets")
            if at > len(hvcc) or size < 3 or unit[0] >> 1 & 63 != kind:
                raise CorruptImage("The HEIC has an invalid decoder configuration")
            if kind == _SPS:
                sizes.append(_size_in_sps(unit))
    if not sizes:
        raise CorruptImage("The HEIC has no image size in its decoder configuration")
    return length_size, sizes


def check_units(data: bytes, length_size: int, max_units: int) -> None:
    """Check the units of one coded image: they fill the data, and none changes the decoder configuration.

    Raises:
        CorruptImage: a unit extends past the data.
        SuspiciousStructure: too many units, or a parameter set among them.
    """
    at = count = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + length_size], "big")
        kind = data[at + length_size] >> 1 & 63 if at + length_size < len(data) else 0
        at, count = at + length_size + size, count + 1
        if at > len(data) or size < 2:
            raise CorruptImage("The HEIC is truncated inside its image data")
        if count > max_units or kind in (_VPS, _SPS, _PPS):
            raise SuspiciousStructure("The HEIC has too many units of image data, or a second decoder configuration")


def _size_in_sps(unit: memoryview) -> CodedSize:
    """Read the size in a sequence parameter set (section 7.3.2.2.1)."""
    bits = BitReader(bytes(unit[2:]).replace(b"\x00\x00\x03", b"\x00\x00"))  # emulation prevention
    bits.skip(4)
    layers = bits.read(3)
    bits.skip(1 + 88 + 8)
    present = [(bits.flag(), bits.flag()) for _ in range(layers)]
    if layers:
        bits.skip(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)
    bits.exp_golomb()
    chroma = bits.exp_golomb()
    if chroma > 3 or (chroma == 3 and bits.flag()):
        raise UnsupportedFormat("HEIC with separate color planes; save it as JPEG")
    width, height = bits.exp_golomb(), bits.exp_golomb()
    left = right = top = bottom = 0
    if bits.flag():
        across, down = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}[chroma]
        left, right, top, bottom = (bits.exp_golomb() * unit for unit in (across, across, down, down))
    return CodedSize(width, height, width - left - right, height - top - bottom)
