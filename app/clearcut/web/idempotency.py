"""The Idempotency-Key header and the digest of the request that it identifies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from starlette.requests import Request

from clearcut.accounts.types import Charge, Idempotency
from clearcut.errors import InvalidField
from clearcut.service import Service
from clearcut.web.request.upload import Upload

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_DIGEST_NAMES = {"background": "bg_image"}
"""Names of roles in digests. They must not change: a digest is compared with those of earlier versions."""


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the Idempotency-Key, given bare or as a quoted string; None without one.

    Raises:
        InvalidField: the key is malformed.
    """
    key = headers.get("idempotency-key", "").strip()
    if not key:
        return None
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise InvalidField("Idempotency-Key", "1 to 255 printable ASCII characters")
    return key


async def request_idempotency(service: Service, request: Request, upload: Upload) -> Idempotency | None:
    """Return the Idempotency-Key with the digest of the request: route, Accept header, fields, URLs and files."""
    key = idempotency_key(request.headers)
    if key is None:
        return None
    route = [request.scope["route"].path, request.headers.get("accept", "")]
    start = repr((route, sorted(upload.fields.items()))).encode()
    if upload.urls:
        urls = sorted((_DIGEST_NAMES.get(role, role), source) for role, source in upload.urls.items())
        start += repr(urls).encode()
    return Idempotency(key, await service.on_pool(lambda: _digest(start, upload.files)))


async def bind_fetched(service: Service, charge: Charge | None, upload: Upload) -> None:
    """Bind the fetched files to the Idempotency-Key; a repeated request must fetch the same files.

    Raises:
        IdempotencyMismatch: the files at the URLs have changed.
    """
    if charge is not None and charge.idempotent:
        fetched = {role: upload.files[role] for role in upload.urls}
        await service.accounts.request_charges.bind_content(
            charge, await service.on_pool(lambda: _digest(b"", fetched))
        )


def _digest(start: bytes, files: Mapping[str, bytearray]) -> str:
    """Return the hexadecimal SHA-256 digest of ``start`` and of the files with their roles."""
    digest = hashlib.sha256(start)
    for role in sorted(files):
        digest.update(_DIGEST_NAMES.get(role, role).encode() + hashlib.sha256(files[role]).digest())
    return digest.hexdigest()
