"""The JSON body of an order, and its members."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.requests import Request

from clearcut.errors import InvalidField, MalformedBody, TooManyBytes
from clearcut.service import Service

from .body import Body
from .encoded import encoded_bytes
from .fields import Table
from .header_params import parse_content_type
from .upload import declared_length

MAX_JSON_BYTES = 64 * 1024
_MOST_MARKS = 1024


async def read_object(service: Service, request: Request, body: Body, *, pictures: bool) -> dict[str, Any]:
    """The JSON object in a request's body.

    Args:
        pictures: whether a picture may be inside, in base64.

    Raises:
        MalformedBody, TooManyBytes: it is none, or too large.
    """
    kind, _ = parse_content_type(request.headers.get("content-type"))
    if kind != b"application/json":
        raise MalformedBody("Send a JSON object with Content-Type: application/json")
    most = service.settings.max_bytes
    cap = MAX_JSON_BYTES + (encoded_bytes(most) if pictures else 0)
    data = bytearray()
    if (declared_length(request.headers) or 0) > cap:
        raise TooManyBytes(most if pictures else cap)
    while chunk := await body.chunk():
        data += chunk
        if len(data) > cap:
            raise TooManyBytes(most if pictures else cap)
    return await service.on_pool(partial(_object, data))


def _object(data: bytearray) -> dict[str, Any]:
    # An order is a handful of members; what has many marks would cost as much as it likes to parse.
    if sum(data.count(mark) for mark in b",:[{") > _MOST_MARKS:
        raise MalformedBody("The JSON body has too many members")
    try:
        found = json.loads(data)
        data.clear()  # the text is held once
    except (ValueError, RecursionError):
        raise MalformedBody("The request body is not valid JSON") from None
    if not isinstance(found, dict):
        raise MalformedBody("The JSON body is not an object")
    return found


def text_member(body: Mapping[str, Any], name: str, path: str = "") -> str | None:
    """A member that is text; null and the empty string are absent.

    Raises:
        InvalidField: it is something else.
    """
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _is_unicode(value):
        raise InvalidField(path + name, "text")
    return value


def object_member(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; one that is not there is empty.

    Raises:
        InvalidField: it is something else.
    """
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidField(name, "an object")
    return value


def read_members(body: Mapping[str, Any], table: Table, path: str) -> dict[str, Any]:
    """What the members that the table knows say together; the others mean nothing here.

    Raises:
        InvalidField: one is outside its grammar or range; named with ``path`` before it.
    """
    parsed: dict[str, Any] = {}
    for name, field in table.items():
        value = body.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int | float):
            raise InvalidField(path + name, "text, a number or a boolean")
        try:
            parsed |= field.read(name, str(value))
        except InvalidField as exc:
            raise InvalidField(path + name, exc.expected) from None
    return parsed


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate out of a JSON escape
        return False
    return True
