"""multipart/form-data with bare line feeds instead of CRLF, converted to CRLF as it arrives."""

from __future__ import annotations

_BLANK_LINE = b"\n\n"
_MAX_HEADER_BYTES = 1 << 14
"""Bytes of a part's headers that wait for their end. The parser refuses headers of this size."""


class LineFeedConverter:
    """Convert the framing of a body: delimiter lines and headers end with CRLF, and the data of parts does not change.

    The line end before a delimiter belongs to the delimiter (RFC 2046 5.1.1), so the data of a part is unambiguous. At
    most the length of a delimiter or of the headers waits for further data.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\n--" + boundary
        self._pending = b"\n"
        """Bytes that are not converted yet. The first delimiter has no line end before it."""
        self._in_headers = False

    def convert(self, data: bytes) -> bytes:
        """Return the next converted bytes."""
        self._pending += data
        parts: list[bytes] = []
        while part := self._next():
            parts.append(part)
        return b"".join(parts)

    def finish(self) -> bytes:
        """Return the rest: the end of the last delimiter and text after it."""
        return self._pending.replace(b"\n", b"\r\n")

    def _next(self) -> bytes:
        """Return the converted bytes up to the next change between headers and data; empty if more must arrive."""
        mark = _BLANK_LINE if self._in_headers else self._delimiter
        at = self._pending.find(mark)
        if at < 0:
            keep = _MAX_HEADER_BYTES if self._in_headers else len(mark) - 1
            cut = max(0, len(self._pending) - keep)
            found, self._pending = self._pending[:cut], self._pending[cut:]
            return found
        end = at + len(mark)
        found, self._pending = self._pending[:end], self._pending[end:]
        in_headers, self._in_headers = self._in_headers, not self._in_headers
        return found.replace(b"\n", b"\r\n") if in_headers else found[:at] + b"\r\n" + found[at + 1 :]
