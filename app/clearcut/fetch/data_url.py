"""``data:`` URLs, which contain a file in base64.

Decoding a large file takes milliseconds. Call these functions on a thread, not on the event loop.
"""

from __future__ import annotations

import binascii
import re

from clearcut.errors import InvalidInput, TooManyBytes

_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_LINE_ENDS = {ord("\r"): None, ord("\n"): None}


def is_data_url(text: str) -> bool:
    """Return whether the text starts like a ``data:`` URL."""
    return text[:5].lower() == "data:"


def decode_data_url(text: str, *, role: str, max_bytes: int) -> bytearray:
    """Decode ``data:image/png;base64,…``. The declared media type is ignored.

    Args:
        text: the URL, without percent-encoding.
        role: the input that the URL is for, such as ``image``; used in errors.
        max_bytes: maximum bytes of the decoded file.

    Raises:
        InvalidInput: the text is not a ``data:`` URL in base64 (RFC 4648, with padding).
        TooManyBytes: the file is larger than ``max_bytes``.
    """
    head = _HEAD.match(text)
    if head is None:
        raise InvalidInput(role, "a data: URL in base64, such as data:image/png;base64,iVBORw0…")
    return decode_base64(text[head.end() :], role=role, max_bytes=max_bytes)


def decode_base64(text: str, *, role: str, max_bytes: int) -> bytearray:
    """Decode base64 (RFC 4648, with padding). Line ends are ignored. Raises as ``decode_data_url``."""
    if len(text) > (max_bytes + 2) // 3 * 4 + max_bytes // 16 + 8:  # allows for line ends
        raise TooManyBytes(max_bytes, role=role)
    try:
        data = binascii.a2b_base64(text.translate(_LINE_ENDS).encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise InvalidInput(role, "a file in base64 (RFC 4648)") from None
    if len(data) > max_bytes:
        raise TooManyBytes(max_bytes, role=role)
    return bytearray(data)
