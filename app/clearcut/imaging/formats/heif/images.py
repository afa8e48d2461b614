"""The still image of a HEIF or AVIF file: its parts, size, orientation and color, checked before any decode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.formats.dimensions import check_dimensions
from clearcut.imaging.types import ProbeLimits

from .boxes import Box, Item, ItemTable, read_items

_ALPHA_TYPES = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\x00", b"urn:mpeg:hevc:2015:auxid:1\x00")
_ORIENTATIONS = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip
"""EXIF orientation by quarter turns counterclockwise (irot), then mirroring (imir: 0 swaps top and bottom)."""
_PADDING_FACTOR, _PADDING_PIXELS = 2, 1 << 20
"""Tiles may have this many times the pixels of the image, plus a constant for small images."""
SHARED_BYTES = 1 << 20
"""Tiles may share this much data, such as that of equal tiles."""

CheckCoded = Callable[[Item, bytes, memoryview, tuple[int, int], int], None]
"""(item, its data, the file, its size, maximum units): check the size in the coded data against the declared size."""


class Codec(NamedTuple):
    """How a coded image is stored."""

    kind: bytes
    """Type of the items, such as ``av01``."""
    configuration: bytes
    """Type of the box with the decoder configuration, such as ``av1C``."""
    check: CheckCoded


class Crop(NamedTuple):
    """The visible part of the stored image (clean aperture), in pixels."""

    left: int
    top: int
    width: int
    height: int


class Nclx(NamedTuple):
    """Color space by the code points of ITU-T H.273."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool


@dataclass(frozen=True, slots=True)
class StillImage:
    """The primary image of a file."""

    table: ItemTable
    width: int
    height: int
    orientation: int
    crop: Crop | None
    alpha: int | None
    """Id of the item with the transparency."""
    premultiplied: bool

    @property
    def main(self) -> Item:
        return self.table.items[self.table.primary]


def read_image(view: memoryview, limits: ProbeLimits, codec: Codec) -> StillImage:
    """Read and check everything that a decoder needs for the primary image and its alpha.

    Raises:
        CorruptImage: the file is truncated or contradicts itself.
        SuspiciousStructure: floods of items, tiles far larger than the image, or coded sizes that differ from the
            declared ones.
        TooManyPixels: the size is above ``limits``.
        UnsupportedFormat: the primary image is neither coded with ``codec`` nor a grid of such images.
    """
    table = read_items(view, limits.max_segments)
    main = table.items[table.primary]
    width, height = _check_image(view, table, main, limits, codec)
    alpha = _find_alpha(view, table)
    if alpha is not None and _check_image(view, table, table.items[alpha], limits, codec) != (width, height):
        raise CorruptImage("The image and its transparency differ in size")
    premultiplied = alpha is not None and alpha in main.references.get(b"prem", ())
    crop = _crop(view, main, width, height)
    return StillImage(table, width, height, _orientation(view, main), crop, alpha, premultiplied)


def data_of(view: memoryview, item: Item) -> bytes:
    """Join the parts of an item's data."""
    return b"".join(view[start:end] for start, end in item.extents)


def color_profile(view: memoryview, item: Item, max_bytes: int) -> bytes | None:
    """Return the ICC profile of an item; None if it has none or a larger one."""
    for box in item.properties:
        if box.kind == b"colr" and bytes(view[box.start : box.start + 4]) in (b"prof", b"rICC"):
            profile = bytes(view[box.start + 4 : box.end])
            return profile if len(profile) <= max_bytes else None
    return None


def nclx(view: memoryview, item: Item) -> Nclx | None:
    """Return the code points of an item's color space; None if it has none."""
    for box in item.properties:
        if box.kind == b"colr" and bytes(view[box.start : box.start + 4]) == b"nclx" and box.end - box.start >= 11:
            body = view[box.start + 4 : box.end]
            primaries, transfer, matrix = (int.from_bytes(body[at : at + 2], "big") for at in (0, 2, 4))
            return Nclx(primaries, transfer, matrix, body[6] >= 0x80)
    return None


def property_of(item: Item, kind: bytes) -> Box | None:
    """Return the first property of a type."""
    return next((box for box in item.properties if box.kind == kind), None)


def tiles_of(table: ItemTable, item: Item) -> list[Item]:
    """Return the coded images of a grid, or the image itself."""
    if item.kind != b"grid":
        return [item]
    return [table.items[tile] for tile in item.references.get(b"dimg", []) if tile in table.items]


def declared_size(view: memoryview, item: Item) -> tuple[int, int]:
    """Return (width, height) of the image that the file declares for an item.

    Raises:
        CorruptImage: the item has no size.
    """
    box = property_of(item, b"ispe")
    if box is None or box.end - box.start < 12:
        raise CorruptImage("The image file declares no size")
    return int.from_bytes(view[box.start + 4 : box.start + 8], "big"), int.from_bytes(
        view[box.start + 8 : box.start + 12], "big"
    )


def grid_of(view: memoryview, item: Item) -> tuple[int, int]:
    """Return (rows, columns) of the tiles of a checked image; (1, 1) if it is not a grid."""
    return _check_grid(view, item, *declared_size(view, item)) if item.kind == b"grid" else (1, 1)


def _check_image(view: memoryview, table: ItemTable, item: Item, limits: ProbeLimits, codec: Codec) -> tuple[int, int]:
    """Check a coded image or a grid of coded images, and return its size."""
    width, height = declared_size(view, item)
    check_dimensions(width, height, limits)
    if item.kind == codec.kind:
        _check_coded(view, item, (width, height), limits, codec)
        return width, height
    if item.kind != b"grid":
        name = bytes(item.kind).decode("ascii", "replace")
        raise UnsupportedFormat(f"a HEIF file with an image of type '{name}'; save it as JPEG or PNG")
    rows, columns = _check_grid(view, item, width, height)
    ids = item.references.get(b"dimg", [])
    tiles = tiles_of(table, item)
    if len(ids) != rows * columns or len(tiles) != len(ids):
        raise CorruptImage("The image has another number of tiles than its grid")
    tile = declared_size(view, tiles[0])
    if tile[0] * (columns - 1) >= width or tile[1] * (rows - 1) >= height:
        raise SuspiciousStructure("The image has tiles outside its area")
    if tile[0] * columns < width or tile[1] * rows < height:
        raise CorruptImage("The image is larger than its tiles")
    if tile[0] * tile[1] * rows * columns > _PADDING_FACTOR * width * height + _PADDING_PIXELS:
        raise SuspiciousStructure("The image has tiles that are far larger than the image")
    different = dict(zip(ids, tiles, strict=True))
    if sum(map(_data_bytes, different.values())) > len(view) + SHARED_BYTES:
        raise SuspiciousStructure("The file uses the same data for many tiles")
    for each in different.values():
        if each.kind != codec.kind or declared_size(view, each) != tile:
            raise CorruptImage("The image has tiles of different types or sizes")
        _check_coded(view, each, tile, limits, codec)
    return width, height


def _check_coded(view: memoryview, item: Item, size: tuple[int, int], limits: ProbeLimits, codec: Codec) -> None:
    if _data_bytes(item) > len(view):
        raise SuspiciousStructure("The file uses the same data several times")
    codec.check(item, data_of(view, item), view, size, limits.max_segments)


def _data_bytes(item: Item) -> int:
    return sum(end - start for start, end in item.extents)


def _check_grid(view: memoryview, item: Item, width: int, height: int) -> tuple[int, int]:
    """Read a grid descriptor (ISO/IEC 23008-12 section 6.6.2.3) and return (rows, columns)."""
    start, end = item.extents[0] if item.extents else (0, 0)
    body = bytes(view[start : min(end, start + 12)])
    size = 4 if len(body) > 1 and body[1] & 1 else 2
    if len(body) < 4 + 2 * size or body[0]:
        raise CorruptImage("The image has an incomplete grid")
    canvas = tuple(int.from_bytes(body[4 + size * side : 4 + size * (side + 1)], "big") for side in (0, 1))
    if canvas != (width, height):
        raise CorruptImage("The image and its grid differ in size")
    return body[2] + 1, body[3] + 1


def _find_alpha(view: memoryview, table: ItemTable) -> int | None:
    for number, item in table.items.items():
        if table.primary in item.references.get(b"auxl", ()):
            box = property_of(item, b"auxC")
            if box is not None and bytes(view[box.start + 4 : box.end]).startswith(_ALPHA_TYPES):
                return number
    return None


def _orientation(view: memoryview, item: Item) -> int:
    """Return the EXIF orientation that equals the item's irot and imir properties."""
    turns, mirror = 0, None
    for box in item.properties:
        value = view[box.start] if box.end > box.start else 0
        if box.kind == b"irot":
            turns += -(value & 3) if mirror is not None else value & 3
        elif box.kind == b"imir":
            if mirror is not None:
                raise SuspiciousStructure("The image is mirrored several times")
            mirror = value & 1
    return _ORIENTATIONS[turns % 4, mirror]


def _crop(view: memoryview, item: Item, width: int, height: int) -> Crop | None:
    """Return the clean aperture; None if it is absent, or not of whole pixels within the image."""
    box = property_of(item, b"clap")
    if box is None or box.end - box.start < 32:
        return None
    values = [int.from_bytes(view[at : at + 4], "big", signed=True) for at in range(box.start, box.start + 32, 4)]
    sides = []
    for size, (amount, divisor, offset, offset_divisor) in (
        (width, values[:2] + values[4:6]),
        (height, values[2:4] + values[6:8]),
    ):
        if divisor <= 0 or offset_divisor <= 0 or amount % divisor:
            return None
        length = amount // divisor
        twice = (size - length) * offset_divisor + 2 * offset  # twice the start, in units of the divisor
        if (
            twice % (2 * offset_divisor)
            or not 0 < length <= size
            or not 0 <= twice // (2 * offset_divisor) <= size - length
        ):
            return None
        sides.append((twice // (2 * offset_divisor), length))
    (left, cropped_width), (top, cropped_height) = sides
    return Crop(left, top, cropped_width, cropped_height)
