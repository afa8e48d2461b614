"""Signed URLs of outputs. Anyone with such a URL can read that output until it expires, and nothing else."""

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
    """The store and the secrets that serve signed URLs."""

    store: BlobStore
    secrets: tuple[bytes, ...]
    """Secrets that verify. Each of them may have signed a URL."""


def sign_url(base: str, key: str, expires_at: float, secrets: Sequence[bytes]) -> str:
    """Return the signed URL of an output.

    Args:
        base: public URL of the service, such as ``https://cut.example.com``.
        expires_at: Unix time in seconds, rounded down.
        secrets: the first one signs.
    """
    expires = int(expires_at)
    return f"{base.rstrip('/')}{ROUTE}{key}?expires={expires}&signature={_signature(key, expires, secrets[0])}"


def verify(key: str, expires: str, signature: str, secrets: Sequence[bytes], now: float) -> None:
    """Verify a signed URL.

    Args:
        expires: the query parameter ``expires``.
        signature: the query parameter ``signature``.
        secrets: any of them may have signed the URL.
        now: Unix time in seconds.

    Raises:
        InvalidSignature: the signature is invalid.
        OutputExpired: the signature is valid, and the URL has expired.
    """
    well_formed = expires.isascii() and expires.isdigit() and len(expires) <= 12
    expires_at = int(expires) if well_formed else 0
    matches = [
        hmac.compare_digest(_signature(key, expires_at, secret).encode(), signature.encode()) for secret in secrets
    ]
    if not (well_formed and any(matches)):
        raise InvalidSignature
    if expires_at <= now:
        raise OutputExpired


def _signature(key: str, expires: int, secret: bytes) -> str:
    digest = hmac.digest(secret, f"clearcut-output\n{key}\n{expires}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
