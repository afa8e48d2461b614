"""Fields and files in text bodies: urlencoded forms, JSON objects, base64. The functions block for large bodies."""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import unquote_plus

from clearcut.errors import InvalidField, MalformedBody, TooManyBytes
from clearcut.fetch.data_url import parse_base64

from .json_body import parse_object, scalar_text
from .limits import MAX_FIELD_BYTES, MAX_FIELDS

_ESCAPES = (
    (b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"="), (b"%0D", b"\r"), (b"%0A", b"\n"), (b"%20", b" "), (b"%3A", b":"),
    (b"%3B", b";"), (b"%2C", b","), (b"%22", b'"'), (b"%27", b"'"),
)  # fmt: skip


def urlencoded_fields(data: bytearray, file_fields: Collection[str] = ()) -> dict[str, str]:
    """Parse an application/x-www-form-urlencoded body; empty fields are absent.

    Args:
        file_fields: fields that hold a file in base64; only these may be longer than ``MAX_FIELD_BYTES``.

    Raises:
        MalformedBody: the body has too many fields or is not UTF-8.
        InvalidField: a field is repeated or too long.
    """
    if data.count(b"&") >= MAX_FIELDS:
        raise MalformedBody(f"The urlencoded body has more than {MAX_FIELDS} fields")
    fields: dict[str, str] = {}
    for pair in bytes(data).split(b"&"):
        raw_name, _, raw_value = pair.partition(b"=")
        try:
            name = unquote_plus(raw_name[: 3 * MAX_FIELD_BYTES].decode(), errors="strict")
            if name in file_fields:
                value = _unquote_base64(raw_value).decode("ascii")
            elif len(raw_value) > 3 * MAX_FIELD_BYTES:
                raise InvalidField(name[:64], f"at most {MAX_FIELD_BYTES} bytes")
            else:
                value = unquote_plus(raw_value.decode(), errors="strict")
        except UnicodeDecodeError:
            raise MalformedBody("The urlencoded body is not UTF-8 text") from None
        if not value:
            continue
        if name in fields:
            raise InvalidField(name, "one value; the field was sent more than once")
        fields[name] = value
    return _check_fields(fields, file_fields)


def json_fields(data: bytearray, file_fields: Collection[str] = ()) -> dict[str, str]:
    """Parse a JSON object as text fields: ``true`` for true; null and "" are absent. Args as ``urlencoded_fields``.

    Raises:
        MalformedBody: the body is not a JSON object of at most 64 texts, numbers and booleans.
        InvalidField: a field is too long or not Unicode text.
    """
    members = parse_object(data)
    if len(members) > MAX_FIELDS:
        raise MalformedBody(f"The JSON body has more than {MAX_FIELDS} members")
    fields: dict[str, str] = {}
    for name, value in members.items():
        try:
            text = scalar_text(value)
        except ValueError:
            if isinstance(value, str):
                raise InvalidField(name[:64], "UTF-8 text") from None
            raise MalformedBody("A member of the JSON body is neither text, number nor boolean") from None
        if text is not None:
            fields[name] = text
    return _check_fields(fields, file_fields)


TEXT_PARSERS: dict[bytes, Callable[[bytearray, Collection[str]], dict[str, str]]] = {
    b"application/x-www-form-urlencoded": urlencoded_fields,
    b"application/json": json_fields,
}
"""Parsers of text bodies by media type."""


def base64_file(field: str, text: str | bytearray, max_bytes: int, role: str = "image") -> bytearray:
    """Decode a file in base64 (RFC 4648); a ``data:`` prefix, white space and quotes around it are ignored.

    Raises:
        InvalidField: the text is not base64.
        TooManyBytes: the file is larger than ``max_bytes``.
    """
    expected = "a file in base64 (RFC 4648)"
    try:
        data = (text.encode("ascii") if isinstance(text, str) else bytes(text)).strip()
        if len(data) > 1 and data[:1] == data[-1:] and data[:1] in (b'"', b"'"):
            data = data[1:-1]  # a JSON or shell string that was sent with its quotes
        if data[:5].lower() == b"data:":
            data = data.partition(b",")[2]
            if b"%" in data:  # the data of a URL may be percent-encoded (RFC 2397)
                data = _unquote_base64(data)
        file = parse_base64(data)
    except (ValueError, UnicodeEncodeError):
        raise InvalidField(field, expected) from None
    if len(file) > max_bytes:
        raise TooManyBytes(max_bytes, role=role)
    return bytearray(file)


def _unquote_base64(value: bytes) -> bytes:
    """Replace the percent escapes that base64 and a ``data:`` prefix need.

    ``unquote_plus`` makes an object of each escape: 30 MB of escapes take gigabytes. Other escapes remain, and the
    base64 decoder refuses them. A plus sign stays one, although it encodes a space in other fields: many clients do not
    escape it.
    """
    for escape, plain in _ESCAPES:
        value = value.replace(escape, plain).replace(escape.lower(), plain)
    return value


def _check_fields(fields: dict[str, str], file_fields: Collection[str]) -> dict[str, str]:
    """Check lengths and strip white space."""
    checked = {}
    for name, value in fields.items():
        if name not in file_fields and len(value) > MAX_FIELD_BYTES:
            raise InvalidField(name[:64], f"at most {MAX_FIELD_BYTES} bytes")
        if stripped := value.strip():
            checked[name] = stripped
    return checked
