"""Reader of the boxes and items of a HEIF or AVIF file (ISO/IEC 14496-12 and 23008-12). Pixels are not decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure

_STEPS_PER_ITEM = 16
"""Boxes and table entries for each permitted item. A file has about eight for each item."""


class Box(NamedTuple):
    """One box of the file."""

    kind: bytes
    start: int
    """Offset of the payload."""
    end: int
    """Offset of the first byte after the payload."""


@dataclass(slots=True)
class Item:
    """One item: an image, a tile or metadata."""

    kind: bytes = b""
    properties: list[Box] = field(default_factory=list)
    """In the order in which the file applies them."""
    extents: list[tuple[int, int]] = field(default_factory=list)
    """(start, end) of the parts of the data, all within the file."""
    references: dict[bytes, list[int]] = field(default_factory=dict)
    """Ids of other items by type of reference."""


@dataclass(frozen=True, slots=True)
class ItemTable:
    """The items that the meta box of a file describes."""

    primary: int
    items: dict[int, Item]


class _Reader:
    """A cursor over bytes of the file, and a budget of steps for the whole file."""

    def __init__(self, view: memoryview, max_items: int) -> None:
        self.view = view
        self.max_items = max_items
        self._steps = max_items * _STEPS_PER_ITEM

    def step(self, count: int = 1) -> None:
        self._steps -= count
        if self._steps < 0:
            raise SuspiciousStructure(f"The file has more than {self.max_items} items, or too many boxes")

    def number(self, at: int, size: int, end: int) -> int:
        """Read a big-endian number of 0 to 8 bytes."""
        if at + size > end:
            raise CorruptImage("The image file is truncated inside a table")
        return int.from_bytes(self.view[at : at + size], "big")

    def boxes(self, start: int, end: int) -> Iterator[Box]:
        """Yield the boxes between two offsets.

        Raises:
            CorruptImage: a box extends past ``end``.
            SuspiciousStructure: the budget of steps is used up.
        """
        at = start
        while at + 8 <= end:
            self.step()
            size, kind = struct.unpack_from(">I4s", self.view, at)
            head = 8
            if size == 1:
                size, head = self.number(at + 8, 8, end), 16
            elif size == 0:
                size = end - at
            if size < head or at + size > end:
                raise CorruptImage("The image file is truncated inside a box")
            yield Box(kind, at + head, at + size)
            at += size


def read_items(view: memoryview, max_items: int) -> ItemTable:
    """Read the meta box: items, their data, their properties and their references.

    Boxes after the meta box are not read, except that the data of all items must lie within the file.

    Raises:
        CorruptImage: the file is truncated or has no primary image.
        SuspiciousStructure: more items or boxes than ``max_items`` allows, or data outside the file's own boxes.
    """
    reader = _Reader(view, max_items)
    meta = next((box for box in _leading_boxes(reader) if box.kind == b"meta"), None)
    if meta is None:
        raise CorruptImage("The file contains no still image")
    parts: dict[bytes, Box] = {}
    for box in reader.boxes(meta.start + 4, meta.end):
        if box.kind in parts and box.kind in (b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat"):
            raise SuspiciousStructure("The file has the same table twice")
        parts.setdefault(box.kind, box)
    if not {b"pitm", b"iinf", b"iloc", b"iprp"} <= parts.keys():
        raise CorruptImage("The file contains no still image")
    pitm = parts[b"pitm"]
    items = _read_kinds(reader, parts[b"iinf"])
    _read_locations(reader, parts[b"iloc"], parts.get(b"idat"), items)
    _read_properties(reader, parts[b"iprp"], items)
    if b"iref" in parts:
        _read_references(reader, parts[b"iref"], items)
    wide = view[pitm.start] > 0 if pitm.end > pitm.start else False
    primary = reader.number(pitm.start + 4, 4 if wide else 2, pitm.end)
    if primary not in items:
        raise CorruptImage("The file has no primary image")
    return ItemTable(primary, items)


def _leading_boxes(reader: _Reader) -> Iterator[Box]:
    """Yield the top-level boxes; the last one may be cut off, because only its beginning is used."""
    yield from reader.boxes(0, len(reader.view))


def _read_kinds(reader: _Reader, iinf: Box) -> dict[int, Item]:
    version = reader.number(iinf.start, 1, iinf.end)
    start = iinf.start + (6 if version == 0 else 8)
    items: dict[int, Item] = {}
    for box in reader.boxes(start, iinf.end):
        if box.kind != b"infe":
            continue
        size = {2: 2, 3: 4}.get(reader.number(box.start, 1, box.end))
        if size is None:
            continue
        item = reader.number(box.start + 4, size, box.end)
        at = box.start + 4 + size + 2
        reader.number(at, 4, box.end)
        if item in items or len(items) >= reader.max_items:
            raise SuspiciousStructure(f"The file has more than {reader.max_items} items, or one item twice")
        items[item] = Item(bytes(reader.view[at : at + 4]))
    return items


def _read_locations(reader: _Reader, iloc: Box, idat: Box | None, items: dict[int, Item]) -> None:
    version = reader.number(iloc.start, 1, iloc.end)
    if version > 2:
        raise CorruptImage("The file has an unknown table of data")
    sizes = reader.number(iloc.start + 4, 2, iloc.end)
    offset_size, length_size, base_size, index_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    index_size = index_size if version else 0
    id_size = 4 if version == 2 else 2
    at = iloc.start + 6
    count, at = reader.number(at, id_size, iloc.end), at + id_size
    for _ in range(count):
        reader.step()
        item, at = items.get(reader.number(at, id_size, iloc.end)), at + id_size
        method = 0
        if version:
            method, at = reader.number(at, 2, iloc.end) & 15, at + 2
        source, at = reader.number(at, 2, iloc.end), at + 2
        base, at = reader.number(at, base_size, iloc.end), at + base_size
        extents, at = reader.number(at, 2, iloc.end), at + 2
        if item is not None and item.extents:
            raise SuspiciousStructure("The file lists the data of one item twice")
        for _ in range(extents):
            reader.step()
            at += index_size
            offset, at = reader.number(at, offset_size, iloc.end), at + offset_size
            length, at = reader.number(at, length_size, iloc.end), at + length_size
            if item is None:
                continue
            start, end = base + offset, len(reader.view)
            if method == 1 and idat is not None:
                start, end = start + idat.start, idat.end
            elif method or source:
                raise SuspiciousStructure("The file has image data in another place than usual")
            length = length or end - start
            if start + length > end or length < 0:
                raise CorruptImage("The image file is truncated: its data ends after the file")
            item.extents.append((start, start + length))


def _read_properties(reader: _Reader, iprp: Box, items: dict[int, Item]) -> None:
    stored: list[Box] = []
    for box in reader.boxes(iprp.start, iprp.end):
        if box.kind == b"ipco":
            stored = list(reader.boxes(box.start, box.end))
        elif box.kind == b"ipma":
            _read_associations(reader, box, stored, items)


def _read_associations(reader: _Reader, ipma: Box, stored: list[Box], items: dict[int, Item]) -> None:
    head = reader.number(ipma.start, 4, ipma.end)
    id_size, index_size = (4 if head >> 24 else 2), (2 if head & 1 else 1)
    at = ipma.start + 4
    count, at = reader.number(at, 4, ipma.end), at + 4
    for _ in range(count):
        reader.step()
        item, at = items.get(reader.number(at, id_size, ipma.end)), at + id_size
        entries, at = reader.number(at, 1, ipma.end), at + 1
        reader.step(entries)
        for _ in range(entries):
            index = reader.number(at, index_size, ipma.end) & (0x7FFF if index_size == 2 else 0x7F)
            at += index_size
            if item is not None and 0 < index <= len(stored):
                item.properties.append(stored[index - 1])
                if len(item.properties) > 64:
                    raise SuspiciousStructure("An image of the file has too many properties")


def _read_references(reader: _Reader, iref: Box, items: dict[int, Item]) -> None:
    size = 4 if reader.number(iref.start, 1, iref.end) else 2
    for box in reader.boxes(iref.start + 4, iref.end):
        source = items.get(reader.number(box.start, size, box.end))
        count = reader.number(box.start + size, 2, box.end)
        if count > reader.max_items:
            raise SuspiciousStructure(f"The file has more than {reader.max_items} tiles")
        reader.step(count)
        at = box.start + size + 2
        targets = [reader.number(at + size * index, size, box.end) for index in range(count)]
        if source is not None:
            if box.kind in source.references:
                raise SuspiciousStructure("The file lists the references of one item twice")
            source.references[box.kind] = targets
