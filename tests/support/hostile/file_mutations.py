"""Parts of image files, and functions that change them. Independent of the service's own parsers.

``spans`` covers a whole valid file without gaps: signature and header, then every JPEG segment or scan, PNG chunk or
RIFF chunk.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

Span = tuple[int, int]
_BARE = {0xD8, 0xD9, 0x01, *range(0xD0, 0xD8)}


def spans(kind: str, data: bytes) -> list[Span]:
    return list({"jpeg": _jpeg, "png": _png, "webp": _webp}[kind](data))


def _jpeg(data: bytes) -> Iterator[Span]:
    at = 0
    while at < len(data):
        if data[at] != 0xFF or data[at + 1] in _BARE:
            yield at, at + 2
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield at, end
        if data[at + 1] == 0xDA:
            at, end = end, _after_scan(data, end)
            yield at, end
        at = end


def _after_scan(data: bytes, at: int) -> int:
    while at + 1 < len(data) and not (data[at] == 0xFF and data[at + 1] not in {0, *range(0xD0, 0xD8)}):
        at += 1
    return at if at + 1 < len(data) else len(data)


def _png(data: bytes) -> Iterator[Span]:
    yield 0, 8
    at = 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield at, end
        at = end


def _webp(data: bytes) -> Iterator[Span]:
    yield 0, 12
    at = 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        yield at, end
        at = end


def truncations(kind: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the file cut at every boundary, within the four bytes after it, and in the middle of every part."""
    places = {1, len(data) - 1}
    for begin, end in spans(kind, data):
        places |= {begin, begin + 3, (begin + end) // 2, end - 1}
    for place in sorted(place for place in places if 0 < place < len(data)):
        yield f"cut at {place}", data[:place]


def mutations(kind: str, data: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield files with one to eight changed bytes, three quarters of them in headers. Half of the PNGs get valid
    checksums.
    """
    parts = spans(kind, data)
    for number in range(count):
        changed = bytearray(data)
        where = []
        for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
            begin, end = rng.choice(parts)
            if rng.random() < 0.75:
                end = min(end, begin + 24)
            at = rng.randrange(begin, end)
            changed[at] = rng.choice(
                (0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ (1 << rng.randrange(8)), rng.randrange(256))
            )
            where.append(at)
        created = bytes(changed)
        if kind == "png" and number % 2:
            created = with_valid_checksums(created)
        yield f"bytes at {','.join(map(str, where))}", created


def rearrangements(kind: str, data: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield files with parts removed, duplicated, exchanged, or of a wrong length. Half of the WebPs get a valid RIFF
    length.
    """
    parts = [data[begin:end] for begin, end in spans(kind, data)]
    for number in range(count):
        pieces = list(parts)
        one, other = rng.randrange(1, len(pieces)), rng.randrange(1, len(pieces))
        match number % 4:
            case 0:
                what = f"without part {one}"
                del pieces[one]
            case 1:
                what = f"part {one} doubled at {other}"
                pieces.insert(other, pieces[one])
            case 2:
                what = f"parts {one} and {other} exchanged"
                pieces[one], pieces[other] = pieces[other], pieces[one]
            case _:
                what = f"part {one} with a length that lies"
                pieces[one] = _with_wrong_length(kind, pieces[one], rng)
        created = b"".join(pieces)
        if kind == "webp" and rng.random() < 0.5:
            created = created[:4] + struct.pack("<I", len(created) - 8) + created[8:]
        yield what, created


def _with_wrong_length(kind: str, part: bytes, rng: random.Random) -> bytes:
    at, form = {"jpeg": (2, ">H"), "png": (0, ">I"), "webp": (4, "<I")}[kind]
    size = struct.calcsize(form)
    if len(part) < at + size:
        return part
    largest = (1 << (8 * size)) - 1
    value = rng.choice(
        (0, 1, 2, 3, largest, largest - 1, largest // 2, len(part), 2 * len(part), rng.randrange(largest))
    )
    return part[:at] + struct.pack(form, min(value, largest)) + part[at + size :]


def with_valid_checksums(png: bytes) -> bytes:
    """Return the PNG with valid checksums in all chunks that can be parsed."""
    out, at = bytearray(png), 8
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)
