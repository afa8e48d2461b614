"""A request body becomes a few files in memory and a handful of text fields, under caps, while it arrives.

The body is never spooled to disk and never held twice: multipart is parsed as chunks come in and each file grows one
bytearray. What a body may cost is bounded before it is read (Content-Length) and while it is read (bytes, parts,
field sizes, pauses).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from app.errors import ClientGone, InvalidOption, MalformedBody, MissingImage, TooManyBytes, UploadTimeout
from app.web.multipart import FormReader

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

ROLES = {
    "image_file": "image", "file": "image", "image": "image",
    "bg_image": "bg_image", "bg_image_file": "bg_image",
    "mask": "mask", "mask_file": "mask",
}  # fmt: skip
"""Which field's file is what."""
ENVELOPE_BYTES = 64 * 1024  # boundaries, part headers and text fields around the image


@dataclass(slots=True)
class Upload:
    files: dict[str, bytearray]
    """By role; there is always an ``image``."""
    fields: dict[str, str] = field(default_factory=dict)
    """Text fields of the form and of the query string; empty ones are absent."""

    @property
    def image(self) -> bytearray:
        return self.files["image"]


class Body:
    """The request body as chunks: bytes counted, pauses and the whole time bounded."""

    def __init__(self, receive: Receive, stall_s: float, remaining: Callable[[], float]) -> None:
        self._receive = receive
        self._stall_s = stall_s
        self._remaining = remaining
        self.received = 0
        self.complete = False

    async def chunk(self) -> bytes:
        """The next piece; empty only at the end, when ``complete`` is set.

        Raises:
            UploadTimeout: nothing came for ``stall_s`` seconds, or the request's deadline passed.
            ClientGone: the connection closed before the body was complete.
        """
        while not self.complete:
            patience = min(self._stall_s, self._remaining())
            try:
                if patience <= 0:  # a timeout alone never strikes while chunks come without a pause
                    raise TimeoutError
                async with asyncio.timeout(patience):
                    message = await self._receive()
            except TimeoutError:
                raise UploadTimeout(f"The upload stopped or was too slow after {self.received} bytes") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            data: bytes = message.get("body", b"")
            self.received += len(data)
            self.complete = not message.get("more_body", False)
            if data:
                return data
        return b""

    async def disconnected(self) -> None:
        """Return when the peer has closed the connection; to be awaited only once the body is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def discard(self, at_most: int, seconds: float) -> None:
        """Read on without keeping, so that a client that sends its whole body first can still read our refusal."""
        try:
            async with asyncio.timeout(seconds):
                while not self.complete and self.received < at_most:
                    await self.chunk()
        except (TimeoutError, UploadTimeout, ClientGone):
            self.complete = True


async def read_upload(headers: Mapping[str, str], query: bytes, body: Body, max_bytes: int) -> Upload:
    """Read one image and its options.

    Accepts multipart/form-data with the files in the fields of ``ROLES``, or the image itself as the body
    (``image/*``, ``application/octet-stream`` or no Content-Type) with the options in the query string.

    Args:
        headers: lower-cased names.
        query: the raw query string.

    Raises:
        MissingImage, MalformedBody, TooManyBytes, InvalidOption: the request is at fault.
        UploadTimeout, ClientGone: the body stopped arriving.
    """
    fields = parse_query(query)
    kind, parameters = parse_options_header(headers.get("content-type"))
    declared = declared_length(headers)
    if kind == b"multipart/form-data":
        if declared is not None and declared > max_bytes + ENVELOPE_BYTES:
            raise TooManyBytes.of(max_bytes)
        upload = await _read_form(parameters, body, max_bytes)
    elif kind.startswith(b"image/") or kind in (b"application/octet-stream", b""):
        if declared is not None and declared > max_bytes:
            raise TooManyBytes.of(max_bytes)
        upload = await _read_raw(body, max_bytes)
    else:
        raise MissingImage(_wrong_type(kind.decode("latin-1")))
    for name, value in fields.items():
        if name in upload.fields:
            raise InvalidOption(name, "one value; it was sent in the query string and in the form")
        upload.fields[name] = value
    return upload


def declared_length(headers: Mapping[str, str]) -> int | None:
    """Content-Length as a number, None when the header is absent (the HTTP parser refuses malformed ones)."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def parse_query(query: bytes) -> dict[str, str]:
    """Text options of a query string; empty values are absent.

    Raises:
        MalformedBody: more than 64 of them, or not UTF-8.
        InvalidOption: one is there twice.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=False, errors="strict", max_num_fields=64)
    except (UnicodeDecodeError, ValueError):
        raise MalformedBody("The query string is not UTF-8 text of at most 64 options") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidOption(name, "one value; it was sent more than once")
        fields[name] = value
    return fields


async def _read_raw(body: Body, max_bytes: int) -> Upload:
    image = bytearray()
    while data := await body.chunk():
        if body.received > max_bytes:
            raise TooManyBytes.of(max_bytes)
        image += data
    if not image:
        raise MissingImage("The request body is empty")
    return Upload({"image": image})


async def _read_form(parameters: Mapping[bytes, bytes], body: Body, max_bytes: int) -> Upload:
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise MalformedBody("multipart/form-data without a boundary; let your HTTP client write the Content-Type")
    try:
        form = FormReader(boundary, ROLES, max_bytes)
        while data := await body.chunk():
            if body.received > max_bytes + ENVELOPE_BYTES:
                raise TooManyBytes.of(max_bytes)
            form.feed(data)
        form.finish()
    except FormParserError:
        raise MalformedBody("The multipart body is malformed") from None
    if "image" not in form.files:
        seen = ", ".join(f"'{name}'" for name in form.other_files)
        hint = f"The file came in field {seen}; send it as 'image_file'" if seen else None
        raise MissingImage(hint)
    if not form.files["image"]:
        raise MissingImage("The file in the image field is empty")
    return Upload({role: data for role, data in form.files.items() if data}, form.fields)


def _wrong_type(kind: str) -> str:
    shown = kind if len(kind) <= 100 and kind.isprintable() else "not readable"
    return (
        f"Unsupported request Content-Type: {shown}. Send multipart/form-data with the image in field 'image_file', "
        "or the image itself with Content-Type: image/* (curl: --data-binary @photo.jpg -H 'Content-Type: image/jpeg')"
    )
