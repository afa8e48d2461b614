"""A request body becomes a few files in memory and a handful of text fields, under caps, while it arrives.

The body is never spooled to disk and never held twice: multipart is parsed as chunks come in and each file grows one
bytearray. What a body may cost is bounded before it is read (Content-Length) and while it is read (bytes, parts,
field sizes, pauses).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn, Protocol, TypeVar
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError

from clearcut.errors import InvalidField, MalformedBody, MissingImage, MultipleImages, TooManyBytes

from .body import Body
from .encoded import base64_file, encoded_bytes, json_object, urlencoded
from .header_params import parse_content_type
from .multipart import FormReader

T = TypeVar("T")

NO_ADDRESS = "no URL; URLs are disabled (CLEARCUT_FETCH is off), send the image itself"


class RunOnPool(Protocol):
    """Runs work on a thread and waits for what it returns."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


@dataclass(frozen=True, slots=True)
class UploadSchema:
    """What a dialect takes in."""

    roles: Mapping[str, str]
    """Which field's file is what."""
    encoded: Mapping[str, str] = field(default_factory=dict)
    """Which field's base64 text is what. Only a dialect with such fields takes urlencoded forms and JSON."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Which field's address is of what, where addresses are taken."""

    @property
    def main(self) -> str:
        """The field to name when there is no picture."""
        return next(iter(self.roles))

    def names(self, role: str) -> list[str]:
        """Every field that can hold it, whatever its form."""
        every = {**self.roles, **self.encoded, **self.addresses}
        return [name for name, other in every.items() if other == role]


POOF = UploadSchema(
    {
        "image_file": "image", "file": "image", "image": "image",
        "bg_image": "background", "bg_image_file": "background",
        "mask": "mask", "mask_file": "mask",
    },
    addresses={"url": "image", "image_url": "image", "bg_image_url": "background"},
)  # fmt: skip
ENVELOPE_BYTES = 64 * 1024  # boundaries, part headers and text fields around the image

_TEXT_KINDS = {b"application/x-www-form-urlencoded": urlencoded, b"application/json": json_object}


@dataclass(slots=True)
class Upload:
    files: dict[str, bytearray]
    """By role; what ``read_upload`` returns has an ``image`` here or in ``addresses``."""
    fields: dict[str, str] = field(default_factory=dict)
    """Text fields of the form and of the query string; empty ones are absent."""
    others: list[str] = field(default_factory=list)
    """Fields with a file that has no role here."""
    addresses: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By role: the field and the address that a file is still to be fetched from."""
    field_names: dict[str, str] = field(default_factory=dict)
    """The fields that the request uses, by role or option; for error bodies."""

    @property
    def image(self) -> bytearray:
        return self.files["image"]


async def read_upload(
    headers: Mapping[str, str],
    query: bytes,
    body: Body,
    max_bytes: int,
    intake: UploadSchema = POOF,
    on_pool: RunOnPool = asyncio.to_thread,
    *,
    fetching: bool = False,
) -> Upload:
    """Read one image and its options.

    Accepts multipart/form-data with the files in the fields of the intake's ``roles``, or the image itself as the body
    (``image/*``, ``application/octet-stream`` or no Content-Type) with the options in the query string; urlencoded
    forms and JSON objects with the file in base64 or with its address, where the dialect has such fields.

    Args:
        headers: lower-cased names.
        query: the raw query string.
        on_pool: runs what would hold the event loop up: bodies of text are taken apart there.
        fetching: whether addresses are taken; they come back in ``addresses``, not fetched yet.

    Raises:
        MissingImage, MultipleImages, MalformedBody, TooManyBytes, InvalidField: the request is at fault.
        UploadTimeout, ClientGone: the body stopped arriving.
    """
    fields = parse_query(query)
    kind, parameters = parse_content_type(headers.get("content-type"))
    declared = declared_length(headers)
    raw = kind.startswith(b"image/") or kind in (b"application/octet-stream", b"")
    cap = max_bytes if raw else ENVELOPE_BYTES + (encoded_bytes(max_bytes) if intake.encoded else max_bytes)
    if declared is not None and declared > cap:
        raise TooManyBytes(max_bytes)
    if kind == b"multipart/form-data":
        upload, texts = await _read_form(parameters, body, max_bytes, cap, intake)
        _one_value(upload.fields, fields)
    elif raw:
        upload, texts = Upload({"image": await _read_all(body, cap, max_bytes)}, fields), {}
    elif (intake.encoded or (fetching and intake.addresses)) and kind in _TEXT_KINDS:
        data = await _read_all(body, cap, max_bytes)
        members = await on_pool(partial(_parse_text, _TEXT_KINDS[kind], data, intake.encoded))
        texts = {name: members.pop(name) for name in intake.encoded if name in members}
        upload = Upload({}, members)
        _one_value(upload.fields, fields)
    else:
        raise MissingImage(_wrong_type(kind.decode("latin-1"), intake.main))
    for name in list(texts):
        role = intake.encoded[name]
        if upload.files.get(role):
            raise MultipleImages(role, intake.names(role))
        upload.field_names[role] = name
        upload.files[role] = await on_pool(partial(base64_file, name, texts.pop(name), max_bytes))
    if fetching:
        _take_addresses(upload, intake)
    if not upload.files.get("image") and "image" not in upload.addresses:
        _no_image(upload, intake, raw)
    return upload


def _parse_text(
    parse: Callable[[bytearray, Mapping[str, str]], dict[str, str]], data: bytearray, large: Mapping[str, str]
) -> dict[str, str]:
    """Parse a body and free it: a request that waits for a thread holds its text once."""
    members = parse(data, large)
    data.clear()
    return members


def _take_addresses(upload: Upload, intake: UploadSchema) -> None:
    """Move addresses out of the fields."""
    for name, role in intake.addresses.items():
        if name not in upload.fields:
            continue
        if upload.files.get(role) or role in upload.addresses:
            raise MultipleImages(role, intake.names(role))
        upload.files.pop(role, None)  # an empty body or an empty file beside the address
        upload.addresses[role] = (name, upload.fields.pop(name))
        upload.field_names[role] = name


def _one_value(ours: dict[str, str], query: Mapping[str, str]) -> None:
    """Add the query's fields to the body's."""
    for name, value in query.items():
        if name in ours:
            raise InvalidField(name, "one value; the field is in the query string and in the form")
        ours[name] = value


def _no_image(upload: Upload, intake: UploadSchema, raw: bool) -> NoReturn:
    for name in intake.addresses:
        if name in upload.fields:
            raise InvalidField(name, NO_ADDRESS)
    if raw:
        raise MissingImage("The request body is empty")
    if "image" in upload.files:
        raise MissingImage(f"The file in field '{upload.field_names.get('image', intake.main)}' is empty")
    seen = ", ".join(f"'{name}'" for name in upload.others)
    if seen:
        raise MissingImage(f"The file is in field {seen}; send it as '{intake.main}'")
    raise MissingImage


def declared_length(headers: Mapping[str, str]) -> int | None:
    """Content-Length as a number, None when the header is absent (the HTTP parser refuses malformed ones)."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def parse_query(query: bytes) -> dict[str, str]:
    """Text options of a query string; empty values are absent.

    Raises:
        MalformedBody: more than 64 of them, or not UTF-8.
        InvalidField: one is there twice.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=False, errors="strict", max_num_fields=64)
    except UnicodeDecodeError:
        raise MalformedBody("The query string is not UTF-8 text; percent-encode it") from None
    except ValueError:
        raise MalformedBody("The query string has more than 64 options") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidField(name, "one value; the field was sent more than once")
        fields[name] = value
    return fields


async def _read_all(body: Body, cap: int, max_bytes: int) -> bytearray:
    data = bytearray()
    while chunk := await body.chunk():
        if body.received > cap:
            raise TooManyBytes(max_bytes)
        data += chunk
    return data


async def _read_form(
    parameters: Mapping[bytes, bytes], body: Body, max_bytes: int, cap: int, intake: UploadSchema
) -> tuple[Upload, dict[str, str | bytearray]]:
    """(files and fields, base64 texts by field)."""
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise MalformedBody("multipart/form-data without a boundary; let your HTTP client write the Content-Type")
    try:
        form = FormReader(boundary, intake.roles, max_bytes, intake.encoded, encoded_bytes(max_bytes))
        while data := await body.chunk():
            if body.received > cap:
                raise TooManyBytes(max_bytes)
            form.feed(data)
        form.finish()
    except FormParserError:
        raise MalformedBody("The multipart body is malformed") from None
    files = {role: data for role, data in form.files.items() if data or role == "image"}
    return Upload(files, form.fields, form.other_files, field_names=form.file_fields), dict(form.texts)


def _wrong_type(kind: str, main: str) -> str:
    shown = kind if len(kind) <= 100 and kind.isprintable() else "not readable"
    return (
        f"Unsupported request Content-Type: {shown}. Send multipart/form-data with the image in field '{main}', "
        "or the image itself with Content-Type: image/* (curl: --data-binary @photo.jpg -H 'Content-Type: image/jpeg')"
    )
