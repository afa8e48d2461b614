"""API keys in the database and how much they have used. Blocking: for the threads of ``gate.Access`` only."""

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
        lease_s: seconds that a reservation lives without being extended.
        clock: Unix time.
    """

    def __init__(self, engine: Engine, lease_s: float, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._clock = clock

    def close(self) -> None:
        self._engine.dispose()

    def create(self, name: str, plan: QuotaPlan, credits: int, quotas: Quotas) -> str:
        """A new key, in full: the only time that it can be seen."""
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
        with self._engine.begin() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
        return _account(row) if row is not None else None

    def usage(self, key_id: str) -> Usage | None:
        with self._engine.begin() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
            return self._usage(connection, row) if row is not None else None

    def every(self) -> list[Usage]:
        with self._engine.begin() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at)).all()
            return [self._usage(connection, row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """Whether there is such a key."""
        changed = update(keys).where(keys.c.id == key_id).values(revoked_at=self._clock())
        with self._engine.begin() as connection:
            return connection.execute(changed).rowcount == 1

    def set_credits(self, key_id: str, plan: QuotaPlan, credits: int) -> bool:
        """So many from now on, with none used; whether there is such a key."""
        changed = update(keys).where(keys.c.id == key_id)
        with self._engine.begin() as connection:
            values = {"plan": plan, "credits": credits, "used": 0, "period": self._period(plan)}
            return connection.execute(changed.values(values)).rowcount == 1

    def _locked(self, connection: Connection, key_id: str) -> Row[Any] | None:
        return connection.execute(select(keys).where(keys.c.id == key_id).with_for_update()).one_or_none()

    def _reserved(self, connection: Connection, key_id: str) -> tuple[int, int]:
        """(credits, requests) that are in flight; jobs count for the credits only."""
        requests = func.count().filter(charges.c.id.not_like(JOB_PREFIX + "%"))
        live = select(func.coalesce(func.sum(charges.c.cost), 0), requests).where(
            charges.c.key_id == key_id, charges.c.state == "reserved", charges.c.expires_at >= self._clock()
        )
        cost, count = connection.execute(live).one()
        return int(cost), int(count)

    def _usage(self, connection: Connection, row: Row[Any]) -> Usage:
        return Usage(_account(row), self._used(row) + self._reserved(connection, row.id)[0])

    def _used(self, row: Row[Any]) -> int:
        return int(row.used) if row.period == self._period(row.plan) else 0

    def _period(self, plan: str) -> str:
        return time.strftime("%Y-%m", time.gmtime(self._clock())) if plan == "monthly" else ""


def _account(row: Row[Any]) -> Account:
    quotas = Quotas(row.requests_per_minute, row.concurrent, row.megapixels_per_minute)
    return Account(row.id, row.name, bytes(row.digest), row.revoked_at is not None, row.plan, row.credits, quotas)
