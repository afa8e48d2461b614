"""``data:`` URLs, which contain a file in base64.

Decoding a large file takes milliseconds. Call these functions on a thread, not on the event loop.
"""

from __future__ import annotations

import binascii
import re

from clearcut.errors import InvalidInput, TooManyBytes

_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


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
        InvalidInput: the text is not a ``data:`` URL in base64 (RFC 4648).
        TooManyBytes: the file is larger than ``max_bytes``.
    """
    head = _HEAD.match(text)
    if head is None:
        raise InvalidInput(role, "a data: URL in base64, such as data:image/png;base64,iVBORw0…")
    return decode_base64(text[head.end() :], role=role, max_bytes=max_bytes)


def decode_base64(text: str, *, role: str, max_bytes: int) -> bytearray:
    """Decode base64 as ``parse_base64`` does. Raises as ``decode_data_url``."""
    if len(text) > (max_bytes + 2) // 3 * 4 + max_bytes // 16 + 8:  # allows for line ends
        raise TooManyBytes(max_bytes, role=role)
    try:
        data = parse_base64(text.encode("ascii"))
    except (ValueError, UnicodeEncodeError):
        raise InvalidInput(role, "a file in base64 (RFC 4648)") from None
    if len(data) > max_bytes:
        raise TooManyBytes(max_bytes, role=role)
    return bytearray(data)


def parse_base64(text: bytes) -> bytes:
    """Decode base64 (RFC 4648) in the standard or the URL-safe alphabet, with or without padding; ignore white space.

    Raises:
        ValueError: the text has other characters, padding inside, or an impossible length.
    """
    text = text.translate(_URL_SAFE, _WHITE_SPACE)
    missing = -len(text) % 4
    if missing and not text.endswith(b"="):
        text += b"=" * missing
    return binascii.a2b_base64(text, strict_mode=True)
