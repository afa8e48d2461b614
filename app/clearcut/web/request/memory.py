"""Memory for the bodies and files of requests, before any pixel is decoded."""

from __future__ import annotations

from .encoded import encoded_bytes
from .upload import ENVELOPE_BYTES

_FETCHED_FILES = 2
"""Files of one request that can come from a URL: the image and its background."""


def request_bytes(max_bytes: int, *, fetching: bool) -> int:
    """Bytes of its body and its files that one request holds at most while it waits.

    Args:
        max_bytes: of one file.
        fetching: whether files are fetched from URLs; each may be as large as an upload.
    """
    body = ENVELOPE_BYTES + encoded_bytes(max_bytes)
    return max(body, ENVELOPE_BYTES + (1 + _FETCHED_FILES) * max_bytes) if fetching else body


def parsing_bytes(max_bytes: int) -> int:
    """Bytes that one thread takes besides to parse a body of text and to decode the base64 in it."""
    return 4 * encoded_bytes(max_bytes)
