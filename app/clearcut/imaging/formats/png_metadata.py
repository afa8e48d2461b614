"""What a PNG's side chunks say about its pixels: colour space and grey transparency (W3C PNG section 11.3)."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from clearcut.imaging import color
from clearcut.imaging.types import U8

from . import png_chunks


def icc_profile(view: memoryview, max_bytes: int) -> bytes | None:
    """The inflated iCCP profile; None if it is absent, broken or larger than ``max_bytes`` (never inflated further)."""
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
    return profile if inflater.eof else None


def sample_table(view: memoryview, depth: int) -> U8 | None:
    """u8[256] or u8[65536] from decoded samples to sRGB when only a gAMA chunk tells the colour space, else None.

    cICP, iCCP and sRGB chunks win over gAMA, in that order. cHRM (primaries without a profile) is not applied.
    """
    body = _find(view, b"gAMA")
    if body is None or len(body) != 4 or any(_find(view, kind) is not None for kind in (b"cICP", b"iCCP", b"sRGB")):
        return None
    (scaled,) = struct.unpack(">I", body)
    return color.gamma_table(scaled / 100_000, 16 if depth == 16 else 8)


def grey_transparency(view: memoryview, grey: np.ndarray, depth: int) -> U8 | None:
    """u8[H,W], 0 where a greyscale picture has the one grey that its tRNS chunk calls transparent; else None.

    ``grey`` u8 or u16 [H,W] as OpenCV decodes it: fewer than 8 bits are spread to 0..255.
    """
    body = _find(view, b"tRNS")
    if body is None or len(body) != 2:
        return None
    (level,) = struct.unpack(">H", body)
    level &= (1 << depth) - 1
    if depth < 8:
        level *= 255 // ((1 << depth) - 1)
    return np.where(grey == level, 0, 255).astype(np.uint8)


def _find(view: memoryview, kind: bytes) -> memoryview | None:
    """The payload of the first chunk of a kind that must stand before the image data."""
    for chunk in png_chunks.chunks(view):
        if chunk.kind == b"IDAT":
            return None
        if chunk.kind == kind:
            return view[chunk.start : chunk.end]
    return None
