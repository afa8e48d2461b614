"""Errors about a body that cannot hold an image: its Content-Type is wrong, or it has a URL and fetching is off."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NoReturn, Protocol, TypeVar

from clearcut.errors import InputError, InvalidField, MissingImage

from .body import Body
from .limits import ENVELOPE_BYTES
from .text_bodies import TEXT_PARSERS

T = TypeVar("T")

URLS_DISABLED = (
    "no value, because URLs are disabled on this server. Send the file, or set CLEARCUT_FETCH=true on the server"
)


class RunOnPool(Protocol):
    """Runs work on a pool thread and returns its result."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


async def refuse_text_body(
    media_type: bytes, body: Body, received: bytearray, main_field: str, url_fields: Collection[str], on_pool: RunOnPool
) -> NoReturn:
    """Refuse a body of a type that the schema does not accept. A small form or JSON object is read for the error.

    Args:
        received: the bytes that were read before.
        main_field: the field that the error recommends for the image.

    Raises:
        InvalidField: the body has the URL of an image.
        MissingImage: it has none, is too large or cannot be parsed.
        UploadTimeout, ClientGone: the body stopped arriving.
    """
    if parse := TEXT_PARSERS.get(media_type):
        try:
            data = received or await body.read(ENVELOPE_BYTES, ENVELOPE_BYTES)
            fields = await on_pool(partial(parse, data, ())) if len(data) <= ENVELOPE_BYTES else {}
        except InputError:
            fields = {}
        for name in url_fields:
            if name in fields:
                raise InvalidField(name, URLS_DISABLED)
    raise MissingImage(_unsupported_type(media_type.decode("latin-1"), main_field))


def _unsupported_type(media_type: str, main_field: str) -> str:
    shown = media_type if len(media_type) <= 100 and media_type.isprintable() else "not readable"
    return f"Unsupported request Content-Type: {shown}. {how_to_send(main_field)}"


def how_to_send(main_field: str) -> str:
    """Return the end of an error text that says how to send an image."""
    return (
        f"Send multipart/form-data with the image in field '{main_field}', "
        f"or the image itself with Content-Type: image/* (curl: "
        f"-F {main_field}=@photo.jpg, or --data-binary @photo.jpg -H 'Content-Type: image/jpeg')"
    )
