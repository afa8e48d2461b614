"""The orientation tag out of an EXIF block, and nothing else of it (TIFF 6.0, EXIF 2.32 section 4.6)."""

from __future__ import annotations

import struct

_ORIENTATION = 0x0112
_SHORT = 3
_MAX_ENTRIES = 512
"""Of the first directory. Cameras write a dozen or two."""


def orientation(tiff: memoryview) -> int:
    """1..8 from a TIFF-structured block; 1 when it is absent, out of range or the block is broken.

    ``tiff`` starts at the byte order mark; a leading ``Exif\\0\\0`` is skipped, as some writers of WebP and PNG put
    it there too. Never raises and never reads outside of the block: a picture is not refused over its metadata.
    """
    if bytes(tiff[:6]) == b"Exif\x00\x00":
        tiff = tiff[6:]
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(bytes(tiff[:4]))
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for index in range(min(count, _MAX_ENTRIES)):
        at = start + 2 + 12 * index
        if at + 12 > len(tiff):
            return 1
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, at)
        if tag == _ORIENTATION:
            return value if kind == _SHORT and values == 1 and 1 <= value <= 8 else 1
    return 1
