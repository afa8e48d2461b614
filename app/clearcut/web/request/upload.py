"""Uploads: a request body becomes a few files in memory and a few text fields, within limits, while it arrives.

The body is never written to disk and is in memory once: each file of a multipart body grows one bytearray. Limits apply
before reading (Content-Length) and while reading (bytes, parts, field sizes, pauses).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn
from urllib.parse import parse_qsl

from clearcut.errors import InvalidField, MalformedBody, MissingImage, MultipleImages, TooManyBytes
from clearcut.imaging.formats.registry import detect_format

from .body import Body, require_length
from .header_params import parse_content_type
from .limits import ENVELOPE_BYTES, MAX_FIELDS, base64_size
from .multipart import read_multipart
from .text_bodies import TEXT_PARSERS, base64_file
from .upload_errors import URLS_DISABLED, RunOnPool, how_to_send, refuse_text_body

_RAW_TYPES = frozenset({b"", b"application/octet-stream", b"binary/octet-stream", b"application/binary"})
"""Media types of unknown content. Some object stores and clients use the unregistered ones."""
_URLENCODED = b"application/x-www-form-urlencoded"

_STRIPPED = (
    "The body is not a complete file: curl -d @FILE removes bytes. Use curl -F {}=@photo.jpg, "
    "or curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg'"
)


@dataclass(frozen=True, slots=True)
class UploadSchema:
    """The fields of a dialect that hold or name a file. Each mapping gives the role by field."""

    file_fields: Mapping[str, str]
    """Files of a multipart form. The first field is the one that errors and documents name."""
    base64_fields: Mapping[str, str] = field(default_factory=dict)
    """Files in base64 text. Only a dialect with such fields always accepts urlencoded forms and JSON."""
    url_fields: Mapping[str, str] = field(default_factory=dict)
    """URLs of files, where fetching is enabled."""

    @property
    def main_field(self) -> str:
        return next(iter(self.file_fields))

    def fields_of(self, role: str) -> list[str]:
        """Return all fields for a role."""
        fields = {**self.file_fields, **self.base64_fields, **self.url_fields}
        return [name for name, field_role in fields.items() if field_role == role]


@dataclass(slots=True)
class Upload:
    """The files, URLs and text fields of a request."""

    files: dict[str, bytearray]
    """Files by role. After ``read_upload`` the role ``image`` is here or in ``urls``."""
    fields: dict[str, str] = field(default_factory=dict)
    """Text fields of the form and of the query string; empty ones are absent."""
    unknown_files: list[str] = field(default_factory=list)
    """Fields with a file that the schema does not have."""
    urls: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By role: the field and the URL of a file that is not fetched yet."""
    field_names: dict[str, str] = field(default_factory=dict)
    """The fields that the request uses, by role or option; for error bodies."""

    @property
    def image(self) -> bytearray:
        return self.files["image"]

    def name_options(self, names: Mapping[str, str]) -> None:
        """Add the fields of options; an input with the same name has priority."""
        self.field_names |= {option: name for option, name in names.items() if option not in self.field_names}


async def read_upload(
    headers: Mapping[str, str],
    query: bytes,
    body: Body,
    max_bytes: int,
    schema: UploadSchema,
    on_pool: RunOnPool = asyncio.to_thread,
    *,
    fetching: bool = False,
) -> Upload:
    """Read one image and its options.

    The body is multipart/form-data, or the image itself (``image/*``, ``application/octet-stream`` or no Content-Type)
    with the options in the query string. curl and other clients declare an image as an urlencoded form if they are not
    given another type; such a body is recognized by its first bytes. Urlencoded forms and JSON objects are accepted if
    the schema has base64 fields, or URL fields while fetching is enabled. Otherwise a small one is read to find out
    whether it has a URL, for the error.

    Args:
        headers: with lower-case names.
        query: the raw query string.
        max_bytes: of one file.
        on_pool: parses text bodies and decodes base64 off the event loop.
        fetching: whether URLs are accepted. They are returned in ``urls`` and not fetched.

    Raises:
        MissingImage, MultipleImages, MalformedBody, TooManyBytes, InvalidField: the request is invalid.
        UploadTimeout, ClientGone: the body stopped arriving.
    """
    query_fields = parse_query(query)
    media_type, parameters = parse_content_type(headers.get("content-type"))
    raw = media_type.startswith(b"image/") or media_type in _RAW_TYPES
    file_bytes = base64_size(max_bytes) if schema.base64_fields else max_bytes
    max_body = max_bytes if raw else ENVELOPE_BYTES + file_bytes
    require_length(headers, max_body, max_bytes)
    texts: dict[str, str | bytearray] = {}
    if media_type == b"multipart/form-data":
        form = await read_multipart(parameters, body, schema.file_fields, max_bytes, max_body, schema.base64_fields)
        files = {role: data for role, data in form.files.items() if data or role == "image"}
        upload = Upload(files, form.fields, form.unknown_files, field_names=form.field_names)
        texts.update(form.base64_texts)
    elif raw:
        upload = Upload({"image": await body.read(max_body, max_bytes)})
    elif media_type == _URLENCODED and _is_stripped(data := await body.read(max_body, max_bytes)):
        raise MissingImage(_STRIPPED.format(schema.main_field))
    elif media_type == _URLENCODED and _is_image(data):
        if len(data) > max_bytes:
            raise TooManyBytes(max_bytes)
        upload = Upload({"image": data})
    elif (schema.base64_fields or (fetching and schema.url_fields)) and media_type in TEXT_PARSERS:
        if media_type != _URLENCODED:
            data = await body.read(max_body, max_bytes)
        fields = await on_pool(partial(_parse_text, TEXT_PARSERS[media_type], data, schema.base64_fields))
        texts.update({name: fields.pop(name) for name in schema.base64_fields if name in fields})
        upload = Upload({}, fields)
    else:
        received = data if media_type == _URLENCODED else bytearray()
        await refuse_text_body(media_type, body, received, schema.main_field, schema.url_fields, on_pool)
    _add_query(upload.fields, query_fields)
    for name in list(texts):
        role = schema.base64_fields[name]
        if upload.files.get(role):
            raise MultipleImages(role, schema.fields_of(role))
        upload.field_names[role] = name
        upload.files[role] = await on_pool(partial(base64_file, name, texts.pop(name), max_bytes, role))
    if fetching:
        _take_urls(upload, schema)
    if not upload.files.get("image") and "image" not in upload.urls:
        _raise_missing_image(upload, schema, raw)
    return upload


def _is_stripped(data: bytearray) -> bool:
    """Return whether a binary file lost its NUL bytes and line ends, which ``curl -d @FILE`` removes.

    A form can contain UTF-8 without percent encoding, so only other bytes show that the body is no form.
    """
    if any(byte in data for byte in b"\0\r\n"):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def _is_image(data: bytearray) -> bool:
    return detect_format(memoryview(data)) is not None


def parse_query(query: bytes) -> dict[str, str]:
    """Parse a query string into text fields; empty values are absent.

    Raises:
        MalformedBody: it has more than 64 fields or is not UTF-8.
        InvalidField: a field is repeated.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=False, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise MalformedBody("The query string is not UTF-8 text; percent-encode it") from None
    except ValueError:
        raise MalformedBody(f"The query string has more than {MAX_FIELDS} options") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidField(name, "one value; the field was sent more than once")
        fields[name] = value
    return fields


def _parse_text(
    parse: Callable[[bytearray, Collection[str]], dict[str, str]], data: bytearray, base64_fields: Collection[str]
) -> dict[str, str]:
    """Parse a body and empty it: its text must not stay in memory twice while the request waits for a thread."""
    fields = parse(data, base64_fields)
    data.clear()
    return fields


def _take_urls(upload: Upload, schema: UploadSchema) -> None:
    """Move URLs from ``fields`` to ``urls``."""
    for name, role in schema.url_fields.items():
        if name not in upload.fields:
            continue
        if upload.files.get(role) or role in upload.urls:
            raise MultipleImages(role, schema.fields_of(role))
        upload.files.pop(role, None)  # an empty body or an empty file beside the URL
        upload.urls[role] = (name, upload.fields.pop(name))
        upload.field_names[role] = name


def _add_query(fields: dict[str, str], query_fields: Mapping[str, str]) -> None:
    for name, value in query_fields.items():
        if name in fields:
            raise InvalidField(name, "one value; the field is in the query string and in the form")
        fields[name] = value


def _raise_missing_image(upload: Upload, schema: UploadSchema, raw: bool) -> NoReturn:
    for name in schema.url_fields:
        if name in upload.fields:
            raise InvalidField(name, URLS_DISABLED)
    if raw:
        raise MissingImage(f"The request body is empty. {how_to_send(schema.main_field)}")
    if "image" in upload.files:
        raise MissingImage(f"The file in field '{upload.field_names.get('image', schema.main_field)}' is empty")
    names = ", ".join(f"'{name}'" for name in upload.unknown_files)
    if names:
        raise MissingImage(f"The file is in field {names}; send it as '{schema.main_field}'")
    raise MissingImage
