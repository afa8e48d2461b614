"""Signed addresses of outputs: whoever has one may read that output until it expires, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from clearcut.errors import InvalidSignature, OutputExpired

from .base import BlobStore

ROUTE = "/outputs/"


@dataclass(frozen=True, slots=True)
class OutputLinks:
    """What answers for signed addresses."""

    store: BlobStore
    secrets: tuple[bytes, ...]
    """Any of them may have signed an address."""


def sign_url(base: str, key: str, expires_at: float, secrets: Sequence[bytes]) -> str:
    """The address of an output.

    Args:
        base: where callers reach the service, such as ``https://cut.example.com``.
        expires_at: Unix time; whole seconds count.
        secrets: the first one signs.
    """
    expires = int(expires_at)
    return f"{base.rstrip('/')}{ROUTE}{key}?expires={expires}&signature={_signature(key, expires, secrets[0])}"


def verify(key: str, expires: str, signature: str, secrets: Sequence[bytes], now: float) -> None:
    """Pass if we signed this and it has not expired.

    Raises:
        InvalidSignature: we did not.
        OutputExpired: we did, and its time is over.
    """
    known = expires.isascii() and expires.isdigit() and len(expires) <= 12
    until = int(expires) if known else 0
    good = [hmac.compare_digest(_signature(key, until, each).encode(), signature.encode()) for each in secrets]
    if not (known and any(good)):
        raise InvalidSignature
    if until <= now:
        raise OutputExpired


def _signature(key: str, expires: int, secret: bytes) -> str:
    digest = hmac.digest(secret, f"clearcut-output\n{key}\n{expires}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
