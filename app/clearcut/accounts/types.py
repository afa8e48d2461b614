"""Value types of the ledger: usage, charges, and the request that an Idempotency-Key identifies."""

from __future__ import annotations

from dataclasses import dataclass

from .keys import Account

JOB_PREFIX = "j"
"""First letter of the id of a job's charge. Ids of requests' charges are hexadecimal."""
RETENTION_S = 24 * 3600
"""Seconds for which an Idempotency-Key identifies its request."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The credits that an account has used."""

    account: Account
    used: int
    """Credits that are charged or reserved."""

    @property
    def left(self) -> int | None:
        """Credits left; None if the account is unlimited."""
        return None if self.account.plan == "unlimited" else max(0, self.account.credits - self.used)


@dataclass(frozen=True, slots=True)
class Charge:
    """The credits of one request or job: reserved, then charged or returned."""

    id: str
    key_id: str
    cost: int
    """Credits."""
    repeats: bool = False
    """Whether the request repeats one that was charged already, and is free."""
    idempotent: bool = False
    """Whether the request has an Idempotency-Key. ``Ledger.confirm`` makes the charge valid for its repeats."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key and the request that it identifies."""

    key: str
    """Value of the Idempotency-Key header."""
    fingerprint: str
    """SHA-256 digest of the request, hexadecimal."""
