"""API keys: ``clc_<id>_<secret>``. The id names the account and is no secret; of the whole only SHA-256 is kept.

A secret of 256 random bits needs no slow hash: there is nothing to guess.
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
_ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that look like another


@dataclass(frozen=True, slots=True)
class Quotas:
    """Per key; 0 is no limit, None is the service's own."""

    requests_per_minute: int | None = None
    concurrent: int | None = None
    megapixels_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    name: str
    digest: bytes
    """SHA-256 of the key, 32 bytes."""
    revoked: bool
    plan: QuotaPlan
    credits: int
    """Of the month, or in all; means nothing when unlimited."""
    quotas: Quotas = Quotas()


def new_key() -> tuple[str, str]:
    """(id, key)."""
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
    return key_id, f"clc_{key_id}_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def parse_key_id(key: str) -> str | None:
    """The id in a key; None when it is none of ours."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def is_key_id(text: str) -> bool:
    return _KEY_ID.fullmatch(text) is not None


def verify_key(key: str, account: Account | None) -> bool:
    """Whether the key is the account's; takes as long when there is no such account."""
    same = hmac.compare_digest(hash_key(key), account.digest if account is not None else bytes(32))
    return same and account is not None
