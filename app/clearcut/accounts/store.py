"""API keys in the database, and their usage. Its methods block; ``AsyncLedger`` calls them on its threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from .keys import Account, QuotaPlan, Quotas, hash_key, new_key
from .schema import charges, keys
from .types import JOB_PREFIX, Usage


class AccountStore:
    """Creates, finds and changes API keys.

    Args:
        engine: from ``schema.open_engine``.
        lease_s: seconds until a reservation expires if it is not extended.
        clock: Unix time in seconds.
    """

    def __init__(self, engine: Engine, lease_s: float, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._clock = clock

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def create(self, name: str, plan: QuotaPlan, credits: int, quotas: Quotas) -> str:
        """Create a key. Returns the whole key, which is not stored and cannot be read later."""
        key_id, key = new_key()
        row = {
            "id": key_id, "name": name, "digest": hash_key(key), "created_at": self._clock(), "plan": plan,
            "credits": credits, "used": 0, "period": self._period(plan),
            "requests_per_minute": quotas.requests_per_minute, "concurrent": quotas.concurrent,
            "megapixels_per_minute": quotas.megapixels_per_minute,
        }  # fmt: skip
        with self._engine.begin() as connection:
            connection.execute(insert(keys).values(row))
        return key

    def find(self, key_id: str) -> Account | None:
        """Return the account of a key's id, or None."""
        with self._engine.begin() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
        return _account(row) if row is not None else None

    def usage(self, key_id: str) -> Usage | None:
        """Return the account and its used credits, or None if there is no such key."""
        with self._engine.begin() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
            return self._usage(connection, row) if row is not None else None

    def list_usage(self) -> list[Usage]:
        """Return the usage of all accounts, oldest first."""
        with self._engine.begin() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at)).all()
            return [self._usage(connection, row) for row in rows]

    def find_by_name(self, name: str) -> list[Account]:
        """Return the accounts with a name, oldest first."""
        with self._engine.begin() as connection:
            rows = connection.execute(select(keys).where(keys.c.name == name).order_by(keys.c.created_at)).all()
        return [_account(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """Revoke a key. Returns False if there is no such key."""
        changed = update(keys).where(keys.c.id == key_id).values(revoked_at=self._clock())
        with self._engine.begin() as connection:
            return connection.execute(changed).rowcount == 1

    def set_credits(self, key_id: str, plan: QuotaPlan, credits: int) -> bool:
        """Set the plan and the credits of a key, none of them used. Returns False if there is no such key."""
        changed = update(keys).where(keys.c.id == key_id)
        with self._engine.begin() as connection:
            values = {"plan": plan, "credits": credits, "used": 0, "period": self._period(plan)}
            return connection.execute(changed.values(values)).rowcount == 1

    def _lock_key(self, connection: Connection, key_id: str) -> Row[Any] | None:
        return connection.execute(select(keys).where(keys.c.id == key_id).with_for_update()).one_or_none()

    def _reserved(self, connection: Connection, key_id: str) -> tuple[int, int]:
        """Return the reserved credits, and the number of requests in progress. Jobs are not requests."""
        requests = func.count().filter(charges.c.id.not_like(JOB_PREFIX + "%"))
        active = select(func.coalesce(func.sum(charges.c.cost), 0), requests).where(
            charges.c.key_id == key_id, charges.c.state == "reserved", charges.c.expires_at >= self._clock()
        )
        cost, count = connection.execute(active).one()
        return int(cost), int(count)

    def _usage(self, connection: Connection, row: Row[Any]) -> Usage:
        return Usage(_account(row), self._used(row) + self._reserved(connection, row.id)[0])

    def _used(self, row: Row[Any]) -> int:
        """Return the credits charged in the current period."""
        return int(row.used) if row.period == self._period(row.plan) else 0

    def _period(self, plan: str) -> str:
        """Return the current month such as ``2026-11`` for monthly plans, otherwise an empty string."""
        return time.strftime("%Y-%m", time.gmtime(self._clock())) if plan == "monthly" else ""


def _account(row: Row[Any]) -> Account:
    quotas = Quotas(row.requests_per_minute, row.concurrent, row.megapixels_per_minute)
    return Account(row.id, row.name, bytes(row.digest), row.revoked_at is not None, row.plan, row.credits, quotas)
