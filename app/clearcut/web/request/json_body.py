"""JSON bodies: one reader with one limit, and access to members."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clearcut.errors import InvalidField, MalformedBody, TooManyBytes

from .body import Body, require_length
from .header_params import parse_content_type
from .limits import ENVELOPE_BYTES, base64_size

if TYPE_CHECKING:  # the Python API imports the option table, and must not load the service
    from starlette.requests import Request

    from clearcut.service import Service

_MAX_STRUCTURE = 4096
"""Separators and brackets in a JSON body. Base64 has none; parsing time and memory grow with their number."""


async def read_json(service: Service, request: Request, body: Body, *, with_images: bool) -> dict[str, Any]:
    """Read a request body that is a JSON object.

    Args:
        with_images: whether the object may contain an image in base64.

    Raises:
        MalformedBody: the Content-Type or the body is not JSON, or the body is not an object.
        TooManyBytes: the body is too large.
    """
    media_type, _ = parse_content_type(request.headers.get("content-type"))
    if media_type != b"application/json":
        raise MalformedBody("Send a JSON object with Content-Type: application/json")
    max_file = service.settings.max_bytes
    max_bytes = ENVELOPE_BYTES + (base64_size(max_file) if with_images else 0)
    try:
        require_length(request.headers, max_bytes, max_file)
        data = await body.read(max_bytes, max_file)
    except TooManyBytes as exc:
        if not with_images:
            exc.text = f"Maximum size of the JSON body is {max_bytes} bytes"
        raise
    return await service.on_pool(partial(parse_object, data))


def parse_object(data: bytearray) -> dict[str, Any]:
    """Parse a JSON object and empty ``data``, so that the text is in memory once. Blocks for large bodies.

    Raises:
        MalformedBody: it is not valid JSON, not an object, or has too many members.
    """
    if sum(data.count(mark) for mark in b",:[{") > _MAX_STRUCTURE:
        raise MalformedBody("The JSON body has too many members")
    try:
        found = json.loads(data)
        data.clear()
    except (ValueError, RecursionError):
        raise MalformedBody("The request body is not valid JSON") from None
    if not isinstance(found, dict):
        raise MalformedBody("The JSON body is not an object")
    return found


def scalar_text(value: object) -> str | None:
    """Return a JSON scalar as the text of a form field: ``true``, ``0.5``; None for null and the empty string.

    Raises:
        ValueError: the value is an array, an object or not Unicode text.
    """
    match value:
        case None | "":
            return None
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str() if _is_unicode(value):
            return value
    raise ValueError


def text_member(body: Mapping[str, Any], name: str, prefix: str = "") -> str | None:
    """Return a text member; None for null, the empty string or an absent member.

    Raises:
        InvalidField: the member is not text.
    """
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _is_unicode(value):
        raise InvalidField(prefix + name, "text")
    return value


def object_member(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object member; empty for null or an absent member.

    Raises:
        InvalidField: the member is not an object.
    """
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidField(name, "an object")
    return value


def _is_unicode(text: str) -> bool:
    """Return False for text with a lone surrogate, which a JSON escape can make."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
