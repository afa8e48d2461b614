"""The data that the service and the decoder's process exchange: two files in memory and an exit status.

The input is a count, a record for each image and the data. The output has space for the colors, then the planes at the
offsets that the records name. Each record is an image or a tile: parameter sets and slices with start codes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

COUNT = struct.Struct("<I")
_IMAGE = struct.Struct("<QQIIIIQIQIQI")
COLORS = struct.Struct("<IIII")
HEADER_BYTES = 64
"""Space for the colors at the start of the output."""

DAMAGED, NOT_STARTED, OUT_OF_MEMORY = 3, 4, 5
"""Exit statuses besides 0."""


class Target(NamedTuple):
    """Where a plane goes in the output."""

    offset: int
    stride: int
    """Bytes from one row to the next one."""


class CodedImage(NamedTuple):
    """One image to decode."""

    offset: int
    """Of its data in the input."""
    size: int
    width: int
    height: int
    chroma: int
    """``chroma_format_idc`` of H.265: 0 gray, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4."""
    bits: int
    """Bits of a sample. Samples of more than 8 bits have two bytes, low byte first."""
    planes: tuple[Target, Target, Target]
    """Gray images use the first one."""

    def pack(self) -> bytes:
        return _IMAGE.pack(*self[:6], *(number for target in self.planes for number in target))


class Colors(NamedTuple):
    """Color space in the coded data, as code points of ITU-T H.273; 2 means "unspecified"."""

    full_range: int
    matrix: int
    primaries: int
    transfer: int


def subsampling(chroma: int) -> tuple[int, int]:
    """Return how many pixels share a chroma sample: (across, down)."""
    return {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}[chroma]


def plane_sizes(width: int, height: int, chroma: int) -> list[tuple[int, int]]:
    """Return (width, height) of each plane in samples."""
    across, down = subsampling(chroma)
    return [(width, height)] + [(-(-width // across), -(-height // down))] * (2 if chroma else 0)


def head_bytes(count: int) -> int:
    """Return the size of the table in front of the data."""
    return COUNT.size + count * _IMAGE.size


def unpack_images(table: memoryview) -> list[CodedImage]:
    """Read the table at the start of the input."""
    (count,) = COUNT.unpack_from(table)
    found = []
    for number in range(count):
        offset, size, width, height, chroma, bits, *targets = _IMAGE.unpack_from(
            table, COUNT.size + number * _IMAGE.size
        )
        luma, cb, cr = (Target(*targets[at : at + 2]) for at in (0, 2, 4))
        found.append(CodedImage(offset, size, width, height, chroma, bits, (luma, cb, cr)))
    return found
