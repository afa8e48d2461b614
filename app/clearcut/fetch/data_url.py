"""``data:`` URLs: a file inside its own address. Milliseconds for a large one, so it is for a thread of the pool."""

from __future__ import annotations

import binascii
import re

from clearcut.errors import InvalidInput, TooManyBytes

_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_WRAPPING = {ord("\r"): None, ord("\n"): None}


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def decode_data_url(text: str, *, role: str, max_bytes: int) -> bytearray:
    """The bytes in ``data:image/png;base64,…``, whatever type it says they are.

    Args:
        text: with its percent signs taken out already, where the form had any.
        max_bytes: of what is inside.

    Raises:
        InvalidInput: it is no such URL in base64 (RFC 4648, with padding).
        TooManyBytes: there is more inside than ``max_bytes``.
    """
    head = _HEAD.match(text)
    if head is None:
        raise InvalidInput(role, "a data: URL in base64, such as data:image/png;base64,iVBORw0…")
    return decode_base64(text[head.end() :], role=role, max_bytes=max_bytes)


def decode_base64(text: str, *, role: str, max_bytes: int) -> bytearray:
    """The bytes that ``text`` holds in base64 (RFC 4648, with padding), line ends let go. Raises as
    ``decode_data_url``."""
    if len(text) > (max_bytes + 2) // 3 * 4 + max_bytes // 16 + 8:  # room for line ends, nothing else
        raise TooManyBytes(max_bytes, role=role)
    try:
        found = binascii.a2b_base64(text.translate(_WRAPPING).encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise InvalidInput(role, "a file in base64 (RFC 4648)") from None
    if len(found) > max_bytes:
        raise TooManyBytes(max_bytes, role=role)
    return bytearray(found)
