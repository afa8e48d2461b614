"""Reader of the orientation tag in an EXIF block (TIFF 6.0, EXIF 2.32 section 4.6). No other tag is read."""

from __future__ import annotations

import struct

_ORIENTATION = 0x0112
_INTEGERS = {3: "H", 4: "I", 8: "h", 9: "i"}
"""``struct`` codes by TIFF type. EXIF requires SHORT (3); some phones write LONG (4)."""
_MAX_ENTRIES = 512
"""Maximum entries of the first directory that are read. Cameras write up to about 24."""


def orientation(tiff: memoryview) -> int:
    """Return the orientation 1..8; 1 if the tag is absent or out of range, or the block is damaged.

    Never raises and never reads outside the block: damaged metadata does not make an image invalid.

    Args:
        tiff: the block from its byte order mark on. A leading ``Exif\\0\\0``, which some WebP and PNG encoders
            write, is skipped.
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
        tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, at)
        if tag == _ORIENTATION:
            if kind not in _INTEGERS or values != 1:
                return 1
            (value,) = struct.unpack_from(f"{order}{_INTEGERS[kind]}", tiff, at + 8)
            return int(value) if 1 <= value <= 8 else 1
    return 1
