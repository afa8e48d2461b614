"""Reader of the first directory of a TIFF file (TIFF 6.0 sections 2 and 8). Pixels are not decoded."""

from __future__ import annotations

import struct
from typing import NamedTuple

from clearcut.errors import CorruptImage, SuspiciousStructure

_MAX_ENTRIES = 512
"""Maximum entries of a directory. Scanners and editors write up to about 60."""
_TYPES = {1: ("B", 1), 2: ("B", 1), 3: ("H", 2), 4: ("I", 4), 6: ("b", 1), 7: ("B", 1), 8: ("h", 2), 9: ("i", 4)}
"""Format character and size of integer types."""


class Entry(NamedTuple):
    """One tag: its type, its values and where they are."""

    kind: int
    length: int
    """Number of values."""
    start: int
    """Offset of the values."""
    end: int


class Directory(NamedTuple):
    """The first directory."""

    order: str
    """``<`` or ``>``, as in the module struct."""
    entries: dict[int, Entry]
    has_more: bool
    """Whether another directory follows."""


def read_directory(view: memoryview) -> Directory:
    """Read the first directory; the next one is not followed.

    Raises:
        CorruptImage: the directory, or values that it points at, lie outside the file.
        SuspiciousStructure: too many entries.
    """
    order = "<" if bytes(view[:2]) == b"II" else ">"
    if len(view) < 8:
        raise CorruptImage("The TIFF is truncated inside its header")
    (start,) = struct.unpack_from(f"{order}I", view, 4)
    if start < 8 or start + 2 > len(view):
        raise CorruptImage("The TIFF is truncated: its directory is outside the file")
    (count,) = struct.unpack_from(f"{order}H", view, start)
    if count > _MAX_ENTRIES:
        raise SuspiciousStructure(f"The TIFF's directory has more than {_MAX_ENTRIES} entries")
    end = start + 2 + 12 * count
    if end > len(view):
        raise CorruptImage("The TIFF is truncated inside its directory")
    entries: dict[int, Entry] = {}
    for at in range(start + 2, end, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", view, at)
        size = values * _TYPES.get(kind, ("", 0))[1]
        if not size or tag in entries:
            continue
        place = at + 8 if size <= 4 else struct.unpack_from(f"{order}I", view, at + 8)[0]
        if place + size > len(view):
            raise CorruptImage("The TIFF is truncated: values of its directory are outside the file")
        entries[tag] = Entry(kind, values, place, place + size)
    has_more = end + 4 <= len(view) and struct.unpack_from(f"{order}I", view, end)[0] != 0
    return Directory(order, entries, has_more)


def values(view: memoryview, directory: Directory, tag: int, limit: int) -> tuple[int, ...]:
    """Return the numbers of a tag; empty if the tag is absent.

    Raises:
        SuspiciousStructure: more than ``limit`` values.
    """
    entry = directory.entries.get(tag)
    if entry is None:
        return ()
    if entry.length > limit:
        raise SuspiciousStructure(f"The TIFF has more than {limit} values for tag {tag}")
    return struct.unpack_from(f"{directory.order}{entry.length}{_TYPES[entry.kind][0]}", view, entry.start)


def number(view: memoryview, directory: Directory, tag: int, default: int | None = None) -> int:
    """Return the first number of a tag.

    Raises:
        CorruptImage: the tag is absent and has no default.
    """
    found = values(view, directory, tag, 1 << 16)[:1]
    if found:
        return found[0]
    if default is None:
        raise CorruptImage(f"The TIFF has no tag {tag}")
    return default
