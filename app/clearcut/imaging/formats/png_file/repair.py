"""A valid copy of a PNG file with complete image data, but missing or wrong checksums or no end."""

from __future__ import annotations

import struct
import zlib

from clearcut.errors import CorruptImage
from clearcut.imaging.formats.deflate import deflate

from .chunks import Chunk, Ihdr, chunks, has_valid_checksum, read_ihdr

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STORED = 65_535
"""Largest stored block of deflate, in bytes (RFC 1951 3.2.4)."""
_WINDOW_BITS = 15
_ZLIB_HEADER = 2
_INPUT = 1 << 16
"""Bytes that are given to the inflater at a time. It copies unused input."""


def needs_repair(view: memoryview, ihdr: Ihdr) -> bool:
    """Return whether libpng would refuse the file for a checksum or for the window size in its zlib header."""
    first = True
    for chunk in chunks(view):
        if chunk.kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND") and not has_valid_checksum(view, chunk):
            return True
        if chunk.kind == b"IDAT" and first and chunk.end > chunk.start:
            first = False
            if 1 << (8 + (view[chunk.start] >> 4)) < min(1 << _WINDOW_BITS, ihdr.inflated_bytes):
                return True
    return False


def repaired(view: memoryview) -> memoryview:
    """Return a file with the same pixels, valid checksums and IEND, and uncompressed image data.

    The data is inflated without its zlib header, up to the size that IHDR requires. Two checksums protect it: the CRC
    of its chunks and Adler-32. A file in which both are present and wrong is damaged; one of them confirms the data
    alone, and a file may lack both. Zero counts as missing, because some encoders write it.

    Raises:
        CorruptImage: pixels are missing, or the checksums show that the data is damaged.
    """
    ihdr = read_ihdr(view)
    head: list[bytes] = []
    body = bytearray()
    wrong_crc = header_confirmed = False
    for chunk in chunks(view):
        payload = view[chunk.start : chunk.end]
        valid = has_valid_checksum(view, chunk)
        if chunk.kind == b"IHDR":
            header_confirmed = valid
        if chunk.kind in (b"IHDR", b"PLTE", b"tRNS"):
            head.append(png_chunk(chunk.kind, bytes(payload)))
        elif chunk.kind == b"IDAT":
            body += payload
            wrong_crc = wrong_crc or (not valid and _has_checksum(view, chunk))
    stream, adler, exact = _stored(body, ihdr.inflated_bytes)
    computed = struct.unpack(">I", stream[-4:])[0]
    if wrong_crc and adler not in (None, 0, computed):
        raise CorruptImage("The PNG is damaged: the checksums of its image data are wrong")
    if not header_confirmed and not exact:
        raise CorruptImage("The PNG's header has an invalid checksum, and its size does not match the image data")
    return memoryview(b"".join([SIGNATURE, *head, png_chunk(b"IDAT", stream), png_chunk(b"IEND", b"")]))


def png_chunk(kind: bytes, body: bytes | bytearray) -> bytes:
    """Return a chunk with its length and checksum."""
    return b"".join(
        (struct.pack(">I", len(body)), kind, body, struct.pack(">I", deflate.crc32(body, zlib.crc32(kind))))
    )


def _has_checksum(view: memoryview, chunk: Chunk) -> bool:
    stored = bytes(view[chunk.end : chunk.end + 4])
    return len(stored) == 4 and any(stored)


def _stored(body: bytearray, size: int) -> tuple[bytearray, int | None, bool]:
    """Inflate ``size`` bytes of a zlib stream and store them as a zlib stream without compression (RFC 1950, 1951).

    Returns:
        (the stream, the Adler-32 of ``body`` or None if it has none, whether ``body`` ends after ``size`` bytes)

    Raises:
        CorruptImage: ``body`` has fewer bytes, or is damaged.
    """
    inflater = deflate.decompressobj(wbits=-_WINDOW_BITS)
    stream = bytearray(b"\x78\x01")
    adler = 1
    left = size
    more = b""
    at = _ZLIB_HEADER
    try:
        while at < len(body) and not inflater.eof and not more:
            pending = bytes(body[at : at + _INPUT])
            at += len(pending)
            while left:
                piece = inflater.decompress(pending, min(_STORED, left))
                pending = inflater.unconsumed_tail
                if not piece:  # ISA-L may hold output back although it has taken all of its input
                    break
                left -= len(piece)
                stream += struct.pack("<BHH", not left, len(piece), len(piece) ^ 0xFFFF)
                stream += piece
                adler = deflate.adler32(piece, adler)
            if not left and not inflater.eof:
                more = inflater.decompress(pending, 1)
    except (zlib.error, deflate.error) as exc:
        raise CorruptImage("The PNG is damaged: its image data cannot be decompressed") from exc
    if left:
        raise CorruptImage("The PNG is truncated: its last rows are missing")
    stream += struct.pack(">I", adler)
    stored = (bytes(inflater.unused_data) + bytes(body[at : at + 4]))[:4] if inflater.eof else b""
    return stream, int.from_bytes(stored, "big") if len(stored) == 4 else None, inflater.eof and not more
