"""Ancillary PNG chunks that change pixels: color space and gray transparency (W3C PNG section 11.3)."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from clearcut.imaging import cicp, color
from clearcut.imaging.cicp import CodingPoints
from clearcut.imaging.types import U8

from . import chunks as png_chunks

_ICC_HEADER = 128
"""Bytes of the header of a profile (ICC.1:2022 7.2)."""


def icc_profile(view: memoryview, max_bytes: int) -> bytes | None:
    """Inflate the iCCP profile; None if it is absent, damaged or larger than ``max_bytes``.

    Some design programs write the chunk without the end of its zlib stream. The profile states its own size.
    """
    body = _find(view, b"iCCP")
    if body is None:
        return None
    name, _, rest = bytes(body).partition(b"\x00")
    if not 1 <= len(name) <= 79 or rest[:1] != b"\x00":
        return None
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(rest[1:], max_bytes)
    except zlib.error:
        return None
    if not inflater.eof and len(profile) < int.from_bytes(profile[:4], "big"):
        return None
    return profile if len(profile) >= _ICC_HEADER else None


def coding_points(view: memoryview, depth: int) -> CodingPoints | None:
    """Return the color space of the cICP chunk, which has precedence over all others (PNG 4.3).

    None if the chunk is absent or names a color space that is not supported; the other chunks apply then.
    """
    body = _find(view, b"cICP")
    if body is None or len(body) != 4 or body[2] != 0 or body[3] > 1:  # RGB has no matrix coefficients
        return None
    return cicp.coding_points(body[0], body[1], full_range=body[3] == 1, depth=16 if depth == 16 else 8)


def sample_table(view: memoryview, depth: int) -> U8 | None:
    """Return the table u8[256] or u8[65536] from samples to sRGB if only a gAMA chunk defines the color space.

    cICP, iCCP and sRGB chunks have precedence over gAMA: the result is None then. cHRM is not applied.
    """
    body = _find(view, b"gAMA")
    if body is None or len(body) != 4 or any(_find(view, kind) is not None for kind in (b"iCCP", b"sRGB")):
        return None
    if coding_points(view, depth) is not None:
        return None
    (scaled,) = struct.unpack(">I", body)
    return color.gamma_table(scaled / 100_000, 16 if depth == 16 else 8)


def gray_transparency(view: memoryview, gray: np.ndarray, depth: int) -> U8 | None:
    """Return the alpha u8[H,W] of a gray image with a tRNS chunk, which makes one level transparent; else None.

    Args:
        gray: u8 or u16 [H,W] as OpenCV decodes it; depths below 8 bits are scaled to 0..255.
    """
    body = _find(view, b"tRNS")
    if body is None or len(body) != 2:
        return None
    (level,) = struct.unpack(">H", body)
    level &= (1 << depth) - 1
    if depth < 8:
        level *= 255 // ((1 << depth) - 1)
    return np.where(gray == level, 0, 255).astype(np.uint8)


def _find(view: memoryview, kind: bytes) -> memoryview | None:
    """Return the payload of the first chunk of this kind before the image data."""
    for chunk in png_chunks.chunks(view):
        if chunk.kind == b"IDAT":
            return None
        if chunk.kind == kind:
            return view[chunk.start : chunk.end]
    return None
