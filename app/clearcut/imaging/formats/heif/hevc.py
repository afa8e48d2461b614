"""Size and samples in HEVC headers (ITU-T H.265 section 7.3), and the units of the coded data. Nothing is decoded."""

from __future__ import annotations

from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat

from .bits import BitReader

_VPS, _SPS, _PPS = 32, 33, 34
_START_CODE = b"\x00\x00\x01"
_ZERO_RUN = bytes(64)
"""Zeros that fill a missing part. Coded data has at most two zero bytes in a row (section 7.4.2)."""
_MAX_SETS = 16
_MAX_SET_BYTES = 4096
_MAX_HEADER_BYTES = 256
"""Bytes of a sequence parameter set that are read; all fields up to the depth of the samples are in the first 130."""


class Sequence(NamedTuple):
    """What a sequence parameter set says about the coded image."""

    width: int
    """Coded size in pixels."""
    height: int
    cropped_width: int
    cropped_height: int
    chroma: int
    """``chroma_format_idc``: 0 gray, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4."""
    bits: int
    """Bits of a sample."""


class Configuration(NamedTuple):
    """The decoder configuration of an image."""

    length_size: int
    """Bytes of the length in front of each unit of the image data."""
    sets: tuple[bytes, ...]
    """The parameter sets of the base layer."""
    sequences: tuple[Sequence, ...]
    """One for each sequence parameter set, at least one."""


def read_configuration(hvcc: memoryview) -> Configuration:
    """Read an hvcC box (ISO/IEC 14496-15 section 8.3.2.1).

    Raises:
        CorruptImage: the box is truncated or has no parameter set.
        SuspiciousStructure: many or very long parameter sets, or sets that differ in their samples.
        UnsupportedFormat: samples of a kind that the decoder does not read.
    """
    if len(hvcc) < 23:
        raise CorruptImage("The HEIC has an incomplete decoder configuration")
    sets: list[bytes] = []
    sequences: list[Sequence] = []
    at, count = 23, 0
    for _ in range(hvcc[22]):
        if at + 3 > len(hvcc):
            raise CorruptImage("The HEIC has an incomplete decoder configuration")
        kind, units, at = hvcc[at] & 63, int.from_bytes(hvcc[at + 1 : at + 3], "big"), at + 3
        for _ in range(units):
            size = int.from_bytes(hvcc[at : at + 2], "big")
            unit, at, count = bytes(hvcc[at + 2 : at + 2 + size]), at + 2 + size, count + 1
            if count > _MAX_SETS or size > _MAX_SET_BYTES or _START_CODE in unit:
                raise SuspiciousStructure("The HEIC has too many or invalid parameter sets")
            if at > len(hvcc) or size < 3 or unit[0] >> 1 & 63 != kind:
                raise CorruptImage("The HEIC has an invalid decoder configuration")
            if kind not in (_VPS, _SPS, _PPS) or not _is_base_layer(unit):
                continue
            sets.append(unit)
            if kind == _SPS:
                sequences.append(_read_sps(unit))
    if not sequences:
        raise CorruptImage("The HEIC has no image size in its decoder configuration")
    if len({(each.chroma, each.bits) for each in sequences}) > 1:
        raise SuspiciousStructure("The HEIC declares several kinds of samples for one image")
    return Configuration((hvcc[21] & 3) + 1, tuple(sets), tuple(sequences))


def annex_b(configuration: Configuration, data: bytes) -> tuple[bytes, int]:
    """Return the parameter sets and the slices of the base layer with start codes, and the number of these slices."""
    units = list(configuration.sets)
    size, at = configuration.length_size, 0
    while at < len(data):
        end = at + size + int.from_bytes(data[at : at + size], "big")
        unit, at = data[at + size : end], end
        if unit[0] >> 1 & 63 < _VPS and _is_base_layer(unit):
            units.append(unit)
    return b"".join(b"\x00" + _START_CODE + unit for unit in units), len(units) - len(configuration.sets)


def check_units(data: bytes, length_size: int, max_units: int) -> None:
    """Check the units of one coded image: they fill the data, and none changes the decoder configuration.

    Raises:
        CorruptImage: a unit extends past the data, or a part is filled with zeros.
        SuspiciousStructure: too many units, a parameter set among them, or a unit that contains a start code.
    """
    at = count = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + length_size], "big")
        start = at + length_size
        kind = data[start] >> 1 & 63 if start < len(data) else 0
        at, count = at + length_size + size, count + 1
        if at > len(data) or size < 2:
            raise CorruptImage("The HEIC is truncated inside its image data")
        if data.find(_ZERO_RUN, start, at) >= 0:
            raise CorruptImage("The HEIC is incomplete: a part of its image data is filled with zeros")
        if count > max_units or kind in (_VPS, _SPS, _PPS) or data.find(_START_CODE, start, at) >= 0:
            raise SuspiciousStructure("The HEIC has too many units of image data, or a second decoder configuration")


def _is_base_layer(unit: bytes) -> bool:
    return not (unit[0] & 1 or unit[1] >> 3)


def _read_sps(unit: bytes) -> Sequence:
    """Read a sequence parameter set up to the depth of its samples (section 7.3.2.2.1)."""
    bits = BitReader(unit[2:_MAX_HEADER_BYTES].replace(b"\x00\x00\x03", b"\x00\x00"))  # emulation prevention
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
    depths = {8 + bits.exp_golomb(), 8 + bits.exp_golomb()}
    if not depths <= {8, 10, 12} or len(depths) > 1:
        raise UnsupportedFormat("HEIC with samples of other depths than 8, 10 or 12 bits; save it as JPEG")
    return Sequence(width, height, width - left - right, height - top - bottom, chroma, depths.pop())
