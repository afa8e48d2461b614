"""Writer of a minimal HEIF or AVIF file that holds one checked image, for the decoder.

The decoder gets only the primary image, its tiles and its alpha, with a fixed list of properties. All other items,
tracks, transformations and metadata stay outside, whatever the file contains. The reader applies rotation and crop.
"""

from __future__ import annotations

import struct

from .boxes import Box
from .images import Codec, StillImage

_PROPERTIES = frozenset({b"ispe", b"pixi", b"auxC", b"colr"})
"""Properties that are passed on, beside the decoder configuration."""
_ESSENTIAL = 0x8000
"""Flag of a property that a decoder must understand."""


def rebuild(view: memoryview, image: StillImage, codec: Codec, brand: bytes) -> bytes:
    """Return a file with the image's coded data unchanged.

    Args:
        brand: major brand, such as ``avif``.
    """
    numbers = _items(image)
    renumbered = {old: new for new, old in enumerate(numbers, 1)}
    kept = _PROPERTIES | {codec.configuration}
    stored: dict[Box, int] = {}
    associations, kinds, locations, data = [], [], [], []
    offset = 0
    for old in numbers:
        item = image.table.items[old]
        new = renumbered[old]
        marked = [
            stored.setdefault(box, len(stored) + 1) | (_ESSENTIAL if box.kind == codec.configuration else 0)
            for box in item.properties
            if box.kind in kept and (box.kind != b"colr" or bytes(view[box.start : box.start + 4]) == b"nclx")
        ]
        associations.append(struct.pack(f">HB{len(marked)}H", new, len(marked), *marked))
        kinds.append(_full(b"infe", 2, struct.pack(">HH4sx", new, 0, item.kind)))
        length = sum(end - start for start, end in item.extents)
        locations.append((new, offset, length))
        data += [view[start:end] for start, end in item.extents]
        offset += length
    properties = b"".join(_box(box.kind, bytes(view[box.start : box.end])) for box in stored)
    parts = [
        _full(b"hdlr", 0, struct.pack(">I4s12xx", 0, b"pict")),
        _full(b"pitm", 0, struct.pack(">H", renumbered[image.table.primary])),
        _full(b"iinf", 0, struct.pack(">H", len(numbers)) + b"".join(kinds)),
        _box(
            b"iprp",
            _box(b"ipco", properties)
            + _full(b"ipma", 0, struct.pack(">I", len(numbers)) + b"".join(associations), flags=1),
        ),
        _full(b"iref", 0, b"".join(_references(image, renumbered))),
    ]
    head = _box(b"ftyp", brand + bytes(4) + b"mif1miaf" + brand)
    size = len(head) + 12 + sum(map(len, parts)) + 12 + 2 + 2 + 14 * len(numbers) + 8
    table = b"".join(struct.pack(">HHHII", new, 0, 1, size + at, length) for new, at, length in locations)
    location = _full(b"iloc", 0, struct.pack(">BBH", 0x44, 0, len(numbers)) + table)
    meta = _full(b"meta", 0, b"".join(parts) + location)
    return b"".join([head, meta, struct.pack(">I4s", 8 + offset, b"mdat"), *data])


def _items(image: StillImage) -> list[int]:
    """Return the ids of the image, its alpha and all tiles, each once."""
    roots = [image.table.primary] + ([image.alpha] if image.alpha is not None else [])
    found = dict.fromkeys(roots)
    for root in roots:
        item = image.table.items[root]
        if item.kind == b"grid":
            found.update(dict.fromkeys(item.references[b"dimg"]))
    return list(found)


def _references(image: StillImage, renumbered: dict[int, int]) -> list[bytes]:
    boxes = []
    roots = [image.table.primary] + ([image.alpha] if image.alpha is not None else [])
    for root in roots:
        item = image.table.items[root]
        if item.kind == b"grid":
            tiles = [renumbered[tile] for tile in item.references[b"dimg"]]
            boxes.append(_box(b"dimg", struct.pack(f">HH{len(tiles)}H", renumbered[root], len(tiles), *tiles)))
    if image.alpha is not None:
        main, alpha = renumbered[image.table.primary], renumbered[image.alpha]
        boxes.append(_box(b"auxl", struct.pack(">HHH", alpha, 1, main)))
        if image.premultiplied:
            boxes.append(_box(b"prem", struct.pack(">HHH", main, 1, alpha)))
    return boxes


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, body: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + body)
