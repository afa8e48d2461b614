"""The first frame of an animated PNG with a default image that is not a frame (W3C PNG, third edition, 11.3.6)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from .chunks import FirstFrame, Region, chunks, read_ihdr
from .repair import SIGNATURE, png_chunk

_SEQUENCE_BYTES = 4


class Frame(NamedTuple):
    """A frame as a file of its own."""

    file: memoryview
    """A PNG without color space chunks, of the size of ``region``."""
    region: Region
    """The place of the frame on the canvas, which is transparent elsewhere."""


def first_frame(view: memoryview) -> Frame | None:
    """Return the first frame; None for still images and for animations that start with the default image."""
    found = FirstFrame()
    head: list[bytes] = []
    for chunk in chunks(view):
        found.add(view, chunk)
        if chunk.kind in (b"PLTE", b"tRNS"):
            head.append(png_chunk(chunk.kind, bytes(view[chunk.start : chunk.end])))
    ihdr = read_ihdr(view)
    region = found.region(ihdr)
    if region is None:
        return None
    fields = struct.pack(">II", region.width, region.height) + bytes(view[24:29])
    data = b"".join(view[chunk.start + _SEQUENCE_BYTES : chunk.end] for chunk in found.data)
    parts = [SIGNATURE, png_chunk(b"IHDR", fields), *head, png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return Frame(memoryview(b"".join(parts)), region)
