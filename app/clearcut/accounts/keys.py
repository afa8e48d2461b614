"""API keys of the form ``clc_<id>_<secret>``.

The id identifies the account and is not secret. Only the SHA-256 digest of a key is stored. The secret has 256 random
bits, so a slow password hash is not necessary.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Literal

QuotaPlan = Literal["unlimited", "monthly", "prepaid"]

_KEY = re.compile(r"clc_([a-z0-9]{12})_[A-Za-z0-9_-]{43}")
_KEY_ID = re.compile(r"[a-z0-9]{12}")
_ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # without letters and digits that look alike


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of one key. 0 is no limit; None is the limit in the service's settings."""

    requests_per_minute: int | None = None
    concurrent: int | None = None
    megapixels_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An API key with its plan and limits."""

    id: str
    name: str
    digest: bytes
    """SHA-256 digest of the key, 32 bytes."""
    revoked: bool
    plan: QuotaPlan
    credits: int
    """Credits of each month (``monthly``) or in total (``prepaid``). Not used by ``unlimited``."""
    quotas: Quotas = Quotas()


def new_key() -> tuple[str, str]:
    """Generate a key. Returns its id and the whole key."""
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
    return key_id, f"clc_{key_id}_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> bytes:
    """Return the SHA-256 digest of a key, 32 bytes."""
    return hashlib.sha256(key.encode()).digest()


def parse_key_id(key: str) -> str | None:
    """Return the id in a key, or None if the text is not a key."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def is_key_id(text: str) -> bool:
    """Return whether the text has the form of a key's id."""
    return _KEY_ID.fullmatch(text) is not None


def verify_key(key: str, account: Account | None) -> bool:
    """Return whether the key belongs to the account.

    The comparison takes the same time if the account does not exist, so that timing does not reveal which ids exist.
    """
    same = hmac.compare_digest(hash_key(key), account.digest if account is not None else bytes(32))
    return same and account is not None
