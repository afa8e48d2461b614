"""Value types of the ledger: an account's usage, a charge, and what an Idempotency-Key identifies."""

from __future__ import annotations

from dataclasses import dataclass

from .keys import Account

JOB_PREFIX = "j"
"""First letter of a job's charge; those of requests are hexadecimal."""
RETENTION_S = 24 * 3600
"""How long an Idempotency-Key stands for its request."""


@dataclass(frozen=True, slots=True)
class Usage:
    account: Account
    used: int
    """Charged, and reserved by what is in flight."""

    @property
    def left(self) -> int | None:
        """None: without end."""
        return None if self.account.plan == "unlimited" else max(0, self.account.credits - self.used)


@dataclass(frozen=True, slots=True)
class Charge:
    id: str
    key_id: str
    cost: int
    repeats: bool = False
    """The request was answered and charged before: nothing is to be settled."""
    idempotent: bool = False
    """The request has an Idempotency-Key: ``confirm`` makes the charge valid for repeats of it."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    key: str
    fingerprint: str
    """Of the request; hexadecimal SHA-256."""
