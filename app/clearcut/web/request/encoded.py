"""Bodies that carry a file as text: urlencoded forms, JSON objects, base64. To be called on a thread of the pool."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from urllib.parse import unquote_plus

from clearcut.errors import InvalidField, MalformedBody, TooManyBytes

from .multipart import MAX_FIELD_BYTES, MAX_PARTS

_MOST_MARKS = 4096
_ESCAPES = (
    (b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"="), (b"%0D", b"\r"), (b"%0A", b"\n"), (b"%20", b" "), (b"%3A", b":"),
    (b"%3B", b";"), (b"%2C", b","),
)  # fmt: skip
_WRAPPING = b"\r\n"  # what command line tools put into long base64


def encoded_bytes(max_bytes: int) -> int:
    """The most that a file of ``max_bytes`` takes in a body as base64, percent signs and JSON escapes counted."""
    return max_bytes * 3 // 2


def urlencoded(data: bytearray, large: Mapping[str, str]) -> dict[str, str]:
    """The fields of an application/x-www-form-urlencoded body; empty ones are absent.

    Raises:
        MalformedBody, InvalidField: too many fields, not UTF-8, or a field that is there twice or is too long and not
            in ``large``.
    """
    if data.count(b"&") >= MAX_PARTS:
        raise MalformedBody(f"The urlencoded body has more than {MAX_PARTS} fields")
    fields: dict[str, str] = {}
    for pair in bytes(data).split(b"&"):
        raw_name, _, raw_value = pair.partition(b"=")
        try:
            name = unquote_plus(raw_name[: 3 * MAX_FIELD_BYTES].decode("ascii"), errors="strict")
            if name in large:
                value = _unescaped(raw_value).decode("ascii")
            elif len(raw_value) > 3 * MAX_FIELD_BYTES:
                raise InvalidField(name[:64], f"at most {MAX_FIELD_BYTES} bytes")
            else:
                value = unquote_plus(raw_value.decode("ascii"), errors="strict")
        except UnicodeDecodeError:
            raise MalformedBody("The urlencoded body is not UTF-8 text") from None
        if not value:
            continue
        if name in fields:
            raise InvalidField(name, "one value; the field was sent more than once")
        fields[name] = value
    return _checked(fields, large)


def _unescaped(value: bytes) -> bytes:
    """A large field without its percent signs, as far as base64 and a ``data:`` prefix need any.

    A whole-body unquote makes an object of every escape: 30 MB of them took gigabytes. What stays escaped here is no
    base64 and is refused as such.
    """
    value = value.replace(b"+", b" ")
    for escape, plain in _ESCAPES:
        value = value.replace(escape, plain).replace(escape.lower(), plain)
    return value


def json_object(data: bytearray, large: Mapping[str, str]) -> dict[str, str]:
    """The members of a JSON object as text fields: booleans as ``true`` and ``false``; null and "" are absent.

    Raises:
        MalformedBody, InvalidField: it is no JSON object of at most 64 texts, numbers and booleans.
    """
    # Base64 has none of these: a body with many is no object of a few fields, and parsing it first would cost as much
    # as it likes.
    if sum(data.count(mark) for mark in b",:[{") > _MOST_MARKS:
        raise MalformedBody(f"The JSON body is not an object of at most {MAX_PARTS} members")
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedBody("The request body is not valid JSON") from None
    if not isinstance(members, dict) or len(members) > MAX_PARTS:
        raise MalformedBody(f"The JSON body is not an object of at most {MAX_PARTS} members")
    fields: dict[str, str] = {}
    for name, value in members.items():
        match value:
            case bool():
                fields[name] = "true" if value else "false"
            case int() | float():
                fields[name] = repr(value)
            case str():
                fields[name] = value
            case None:
                continue
            case _:
                raise MalformedBody("A member of the JSON body is neither text, number nor boolean")
    return _checked(fields, large)


def base64_file(name: str, text: str | bytearray, max_bytes: int) -> bytearray:
    """The file that ``text`` holds in base64 (RFC 4648, with padding); a ``data:`` prefix and line ends are let go.

    Raises:
        InvalidField: it is not base64.
        TooManyBytes: the file is larger than ``max_bytes``.
    """
    expected = "a file in base64 (RFC 4648), percent-encoded in an urlencoded form"
    try:
        data = text.encode("ascii") if isinstance(text, str) else bytes(text)
        if data[:5].lower() == b"data:":
            data = data.partition(b",")[2]
        if any(end in data for end in _WRAPPING):
            data = data.translate(None, _WRAPPING)
        found = binascii.a2b_base64(data.strip(), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise InvalidField(name, expected) from None
    if len(found) > max_bytes:
        raise TooManyBytes(max_bytes)
    return bytearray(found)


def _checked(fields: dict[str, str], large: Mapping[str, str]) -> dict[str, str]:
    checked = {}
    for name, value in fields.items():
        if name not in large and len(value) > MAX_FIELD_BYTES:
            raise InvalidField(name[:64], f"at most {MAX_FIELD_BYTES} bytes")
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate out of a JSON escape
            raise InvalidField(name[:64], "UTF-8 text") from None
        if stripped := value.strip():
            checked[name] = stripped
    return checked
