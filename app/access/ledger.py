"""Who may enter and what they have spent, in the database. Blocking: for the threads of ``gate.Access`` only.

A credit is reserved before the work and charged before the first byte of the response body is sent. An error, or a
client that disconnects before that byte, gives it back. The reservations of a killed process expire. No part of a
cut-out is sent without a charge. A process killed between the charge and the first byte leaves that request charged;
a retry with its Idempotency-Key is free.

Each call is one transaction that locks its key's row first, so that calls for one key come one after the other, on any
number of nodes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from app.access.charges import JOB_MARK, REMEMBERED_S, Charge, Idempotency, Usage
from app.access.keys import Account, Plan, Quotas, digest_of, new_key
from app.access.tables import charges, keys
from app.errors import (
    IdempotencyConflict,
    IdempotencyMismatch,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
)


class Ledger:
    def __init__(self, engine: Engine, lease_s: float, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._clock = clock

    def close(self) -> None:
        self._engine.dispose()

    # accounts

    def create(self, name: str, plan: Plan, credits: int, quotas: Quotas) -> str:
        """A new key, in full: the only time that it can be seen."""
        key_id, key = new_key()
        row = {
            "id": key_id, "name": name, "digest": digest_of(key), "created_at": self._clock(), "plan": plan,
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

    def set_credits(self, key_id: str, plan: Plan, credits: int) -> bool:
        """So many from now on, with none used; whether there is such a key."""
        changed = update(keys).where(keys.c.id == key_id)
        with self._engine.begin() as connection:
            values = {"plan": plan, "credits": credits, "used": 0, "period": self._period(plan)}
            return connection.execute(changed.values(values)).rowcount == 1

    # credits

    def open(self, key_id: str, cost: int, concurrent: int, idempotency: Idempotency | None) -> Charge:
        """Reserve ``cost`` credits.

        Args:
            concurrent: how many reservations the key may have at once; 0 is no limit.

        Raises:
            PermissionDenied, PaymentRequired, RateLimited: the key may not.
            IdempotencyMismatch, IdempotencyConflict: its Idempotency-Key stands for another request, or for one that
                is being worked on.
        """
        with self._engine.begin() as connection:
            row = self._locked(connection, key_id)
            if row is None or row.revoked_at is not None:
                raise PermissionDenied("The API key is revoked")
            if idempotency is not None:
                earlier = self._earlier(connection, key_id, idempotency)
                if earlier is not None:
                    return earlier
            running = self._reserved(connection, key_id)[1]
            if concurrent and running >= concurrent:
                raise RateLimited(f"The key has {running} requests in work, of {concurrent}", retry_after=1)
            self._afford(connection, row, cost)
            now, period = self._clock(), self._period(row.plan)
            charge = Charge(uuid.uuid4().hex, key_id, cost, idempotent=idempotency is not None)
            values = {
                "id": charge.id, "key_id": key_id, "cost": cost, "state": "reserved", "period": period,
                "opened_at": now, "expires_at": now + self._lease_s,
                "idempotency_key": idempotency.key if idempotency else None,
                "fingerprint": idempotency.fingerprint if idempotency else None,
            }  # fmt: skip
            connection.execute(insert(charges).values(values))
            return charge

    def hold(self, charge: Charge, lease_s: float) -> None:
        """Reserve for a job, under an id of the caller's: as often as it likes, one reservation comes of it.

        What was given back is reserved again, what was charged stays so. Jobs wait in a line of their own and do not
        count as requests in work.

        Args:
            lease_s: seconds that the reservation lives without being held again; never shortened.

        Raises:
            PermissionDenied, PaymentRequired: the key may not.
        """
        with self._engine.begin() as connection:
            row = self._locked(connection, charge.key_id)
            if row is None or row.revoked_at is not None:
                raise PermissionDenied("The API key is revoked")
            now, mine = self._clock(), charges.c.id == charge.id
            earlier = connection.execute(select(charges).where(mine)).one_or_none()
            if earlier is not None and earlier.state == "charged":
                return
            until = now + lease_s
            if earlier is not None and earlier.state == "reserved" and earlier.expires_at >= now:
                connection.execute(update(charges).where(mine).values(expires_at=max(until, earlier.expires_at)))
                return
            self._afford(connection, row, charge.cost)
            values = {"state": "reserved", "period": self._period(row.plan), "opened_at": now, "expires_at": until}
            if earlier is None:
                own = {"id": charge.id, "key_id": charge.key_id, "cost": charge.cost}
                connection.execute(insert(charges).values(own | values))
            else:
                connection.execute(update(charges).where(mine).values(**values, closed_at=None))

    def extend(self, charge: Charge, lease_s: float | None = None) -> None:
        """Keep a reservation alive for another lease, or for ``lease_s``; one that is closed stays so."""
        alive = update(charges).where(charges.c.id == charge.id, charges.c.state == "reserved")
        until = self._clock() + (self._lease_s if lease_s is None else lease_s)
        with self._engine.begin() as connection:
            connection.execute(alive.values(expires_at=until))

    def forget(self) -> None:
        """Drop what means nothing any more: charges that no Idempotency-Key can name, reservations of the dead."""
        before = self._clock() - REMEMBERED_S
        with self._engine.begin() as connection:
            connection.execute(delete(charges).where(charges.c.opened_at < before, charges.c.expires_at < before))

    @property
    def lease_s(self) -> float:
        """Seconds that a reservation lives without being extended."""
        return self._lease_s

    def settle(self, charge: Charge, final: bool = True) -> bool:
        """Charge what was reserved; False when the reservation had been given up.

        Args:
            final: False allows ``release`` to refund the charge until ``confirm`` is called.
        """
        with self._engine.begin() as connection:
            row = self._locked(connection, charge.key_id)
            closed = (
                update(charges)
                .where(charges.c.id == charge.id, charges.c.state == "reserved")
                .values(state="charged", closed_at=self._clock() if final else None)
                .returning(charges.c.period)
            )
            period = connection.execute(closed).scalar_one_or_none()
            if row is not None and period == row.period:  # one of last month's counts for last month
                spent = update(keys).where(keys.c.id == charge.key_id).values(used=keys.c.used + charge.cost)
                connection.execute(spent)
            return period is not None

    def confirm(self, charge: Charge) -> None:
        """Make a charge final: part of the response was sent, so repeats of the request are free."""
        sent = update(charges).where(charges.c.id == charge.id, charges.c.state == "charged")
        with self._engine.begin() as connection:
            connection.execute(sent.values(closed_at=self._clock()))

    def bind_content(self, charge: Charge, digest: str) -> None:
        """Make the files that were fetched for a request part of what its Idempotency-Key identifies.

        Args:
            digest: hexadecimal SHA-256 of the files.

        Raises:
            IdempotencyMismatch: the request repeats one for which other files were fetched.
        """
        mine = charges.c.id == charge.id
        with self._engine.begin() as connection:
            if not charge.repeats:
                connection.execute(update(charges).where(mine).values(content_digest=digest))
                return
            bound = connection.execute(select(charges.c.content_digest).where(mine)).scalar_one_or_none()
        if bound != digest:
            raise IdempotencyMismatch

    def release(self, charge: Charge) -> None:
        """Give back what was reserved, or charged and not confirmed; the Idempotency-Key is free again.

        An unconfirmed charge past ``expires_at`` is not refunded: a repeat of the request may have been free because
        of it.
        """
        with self._engine.begin() as connection:
            row = self._locked(connection, charge.key_id)
            refundable = (
                update(charges)
                .where(charges.c.id == charge.id, charges.c.state == "charged", charges.c.closed_at.is_(None))
                .where(charges.c.expires_at >= self._clock())
                .values(state="reserved")
                .returning(charges.c.period)
            )
            period = connection.execute(refundable).scalar_one_or_none()
            if row is not None and period == row.period and row.used >= charge.cost:
                refund = update(keys).where(keys.c.id == charge.key_id).values(used=keys.c.used - charge.cost)
                connection.execute(refund)
            self._let_go(connection, charge.id)

    def _afford(self, connection: Connection, row: Row[Any], cost: int) -> None:
        """Pass if the key has so many credits left; begins its month if that is due.

        Raises:
            PaymentRequired: it has not.
        """
        used, reserved = self._used(row), self._reserved(connection, row.id)[0]
        if row.plan != "unlimited" and used + reserved + cost > row.credits:
            raise PaymentRequired("The month's credits are spent" if row.plan == "monthly" else "The credits are spent")
        period = self._period(row.plan)
        if period != row.period:
            connection.execute(update(keys).where(keys.c.id == row.id).values(used=0, period=period))

    def _earlier(self, connection: Connection, key_id: str, idempotency: Idempotency) -> Charge | None:
        """The charged request that the Idempotency-Key stands for; a dead one's key is taken from it."""
        same = select(charges).where(charges.c.key_id == key_id, charges.c.idempotency_key == idempotency.key)
        row = connection.execute(same).one_or_none()
        if row is None:
            return None
        now = self._clock()
        if row.state == "charged" and row.opened_at < now - REMEMBERED_S:
            connection.execute(update(charges).where(charges.c.id == row.id).values(idempotency_key=None))
            return None
        if row.state == "reserved" and row.expires_at < now:
            self._let_go(connection, row.id)
            return None
        if row.fingerprint != idempotency.fingerprint:
            raise IdempotencyMismatch
        unconfirmed = row.closed_at is None and row.expires_at >= now
        if row.state == "reserved" or unconfirmed:
            raise IdempotencyConflict
        return Charge(row.id, key_id, 0, repeats=True, idempotent=True)

    def _let_go(self, connection: Connection, charge_id: str) -> None:
        given_back = {"state": "released", "closed_at": self._clock(), "idempotency_key": None}
        mine = update(charges).where(charges.c.id == charge_id, charges.c.state == "reserved")
        connection.execute(mine.values(given_back))

    def _locked(self, connection: Connection, key_id: str) -> Row[Any] | None:
        return connection.execute(select(keys).where(keys.c.id == key_id).with_for_update()).one_or_none()

    def _reserved(self, connection: Connection, key_id: str) -> tuple[int, int]:
        """(credits, requests) that are in flight; jobs count for the credits only."""
        requests = func.count().filter(charges.c.id.not_like(JOB_MARK + "%"))
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
