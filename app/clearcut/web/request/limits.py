"""Limits of request bodies before any pixel is decoded."""

from __future__ import annotations

ENVELOPE_BYTES = 64 * 1024
"""Bytes of a body beside its files: boundaries, part headers and text fields, or the members of a JSON object."""
MAX_FIELDS = 64
"""Fields of a form, members of a JSON object, parts of a multipart body."""
MAX_FIELD_BYTES = 8 * 1024
"""Bytes of a text field that holds no file."""
MAX_NAME_CHARS = 64

_FETCHED_FILES = 2
"""Files of one request that a URL may give: the image and the background."""


def base64_size(max_bytes: int) -> int:
    """Return the largest size of a file of ``max_bytes`` as base64 text, with percent-encoding and JSON escapes."""
    return max_bytes * 3 // 2


def request_bytes(max_bytes: int, *, fetching: bool) -> int:
    """Return the largest size in bytes of the body and the files of one waiting request.

    Args:
        max_bytes: of one file.
        fetching: whether files are fetched from URLs; each may be as large as an upload.
    """
    body = ENVELOPE_BYTES + base64_size(max_bytes)
    return max(body, ENVELOPE_BYTES + (1 + _FETCHED_FILES) * max_bytes) if fetching else body


def parsing_bytes(max_bytes: int) -> int:
    """Return the additional memory in bytes of one thread that parses a text body and decodes its base64."""
    return 4 * base64_size(max_bytes)
