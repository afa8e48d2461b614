"""Credits in the database: reserved, charged, given back. Blocking: for the threads of ``gate.Access`` only.

A credit is reserved before the work and charged before the first byte of the response body is sent. An error, or a
client that disconnects before that byte, gives it back. The reservations of a killed process expire. No part of a
cut-out is sent without a charge. A process killed between the charge and the first byte leaves that request charged;
a retry with its Idempotency-Key is free.

Each call is one transaction that locks its key's row first, so that calls for one key come one after the other, on any
number of nodes.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from clearcut.errors import IdempotencyConflict, IdempotencyMismatch, PaymentRequired, PermissionDenied, RateLimited

from .schema import charges, keys
from .store import AccountStore
from .types import RETENTION_S, Charge, Idempotency


class Ledger(AccountStore):
    """Reserves, charges and gives back credits."""

    def can_request(self, key_id: str, cost: int, idempotency_key: str | None) -> bool:
        """Whether the key has ``cost`` credits, or has used this Idempotency-Key before. Reserves nothing.

        Raises:
            PermissionDenied: the key is revoked.
        """
        with self._engine.begin() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
            if row is None or row.revoked_at is not None:
                raise PermissionDenied("The API key is revoked")
            if self._affords(connection, row, cost):
                return True
            same = select(charges.c.id).where(charges.c.key_id == key_id, charges.c.idempotency_key == idempotency_key)
            return idempotency_key is not None and connection.execute(same).first() is not None

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
                raise RateLimited(f"The key has {running} of {concurrent} concurrent requests", retry_after=1)
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
        before = self._clock() - RETENTION_S
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

    def _affords(self, connection: Connection, row: Row[Any], cost: int) -> bool:
        used, reserved = self._used(row), self._reserved(connection, row.id)[0]
        return bool(row.plan == "unlimited" or used + reserved + cost <= row.credits)

    def _afford(self, connection: Connection, row: Row[Any], cost: int) -> None:
        """Pass if the key has so many credits left; begins its month if that is due.

        Raises:
            PaymentRequired: it has not.
        """
        if not self._affords(connection, row, cost):
            raise PaymentRequired(
                "The key has no credits left this month" if row.plan == "monthly" else "The key has no credits left"
            )
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
        if row.state == "charged" and row.opened_at < now - RETENTION_S:
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
