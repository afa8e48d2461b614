"""Headers with parameters, such as Content-Type and Content-Disposition, within limits."""

from __future__ import annotations

import re

from python_multipart.multipart import parse_options_header

from clearcut.errors import MalformedBody

MAX_CONTENT_TYPE_BYTES = 1024
MAX_PARAMETERS = 64
_QUOTED = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
"""A quoted string (RFC 9110 5.6.4). A file name can contain many semicolons."""
_REFUSED = re.compile(r"q=0(\.0{0,3})?")


def parse_content_type(value: str | None) -> tuple[bytes, dict[bytes, bytes]]:
    """Return (media type in lower case, parameters) of a Content-Type header; empty without a header.

    Raises:
        MalformedBody: the header is longer than 1,024 bytes or has more than 64 parameters.
    """
    if value is not None and len(value) > MAX_CONTENT_TYPE_BYTES:
        raise MalformedBody(f"The Content-Type header is longer than {MAX_CONTENT_TYPE_BYTES} bytes")
    return parse_parameters(value or "", "Content-Type")


def accepts(accept: str, media_type: str) -> bool:
    """Return whether an Accept header names a media type (RFC 9110 12.5.1), in any case and not with ``q=0``."""
    for item in accept.lower().split(",")[:MAX_PARAMETERS]:
        name, *parameters = (part.strip() for part in item.split(";"))
        if name == media_type:
            return not any(_REFUSED.fullmatch(each) for each in parameters)
    return False


def parse_parameters(value: str | bytes, header: str) -> tuple[bytes, dict[bytes, bytes]]:
    """Return (value in lower case, parameters). Parsing time grows with the number of parameters, so it is limited.

    Raises:
        MalformedBody: the header has more than 64 parameters.
    """
    data = value.encode("latin-1") if isinstance(value, str) else value
    if data.count(b";") > MAX_PARAMETERS and _QUOTED.sub(b"", data).count(b";") > MAX_PARAMETERS:
        raise MalformedBody(f"The {header} header has more than {MAX_PARAMETERS} parameters")
    return parse_options_header(data)
