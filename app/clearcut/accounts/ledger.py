"""Credits in the database: reserved, charged, returned.

The methods block; ``AsyncLedger`` calls them on its threads.

Credits are reserved before the work and charged before the first byte of the response body is sent. After an error, or
if the client disconnects before that byte, they are returned. The reservations of a killed process expire. No part of
a cut-out is sent without a charge. If a process is killed between the charge and the first byte, the request stays
charged; a retry with the same Idempotency-Key is free.

Each call is one transaction. It locks the row of its key first, so calls for one key run one after the other on any
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
    """Reserves, charges and returns credits."""

    def can_request(self, key_id: str, cost: int, idempotency_key: str | None) -> bool:
        """Return whether the key has ``cost`` credits, or has used this Idempotency-Key before. Reserves no credits.

        Raises:
            PermissionDenied: the key is revoked.
        """
        with self._engine.begin() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
            if row is None or row.revoked_at is not None:
                raise PermissionDenied("The API key is revoked")
            if self._has_credits(connection, row, cost):
                return True
            same = select(charges.c.id).where(charges.c.key_id == key_id, charges.c.idempotency_key == idempotency_key)
            return idempotency_key is not None and connection.execute(same).first() is not None

    def reserve(self, key_id: str, cost: int, concurrent: int, idempotency: Idempotency | None) -> Charge:
        """Reserve ``cost`` credits.

        Args:
            concurrent: maximum number of concurrent reservations of the key; 0 is no limit.
            idempotency: identifies the request if it has an Idempotency-Key.

        Returns:
            The reservation, or the free charge of a repeated request.

        Raises:
            PermissionDenied: the key is revoked or does not exist.
            PaymentRequired: the key has too few credits.
            RateLimited: the key has ``concurrent`` reservations.
            IdempotencyMismatch: the Idempotency-Key identifies another request.
            IdempotencyConflict: the first request with the Idempotency-Key is still in progress.
        """
        with self._engine.begin() as connection:
            row = self._lock_key(connection, key_id)
            if row is None or row.revoked_at is not None:
                raise PermissionDenied("The API key is revoked")
            if idempotency is not None:
                earlier = self._find_earlier(connection, key_id, idempotency)
                if earlier is not None:
                    return earlier
            running = self._reserved(connection, key_id)[1]
            if concurrent and running >= concurrent:
                raise RateLimited(f"The key has {running} of {concurrent} concurrent requests", retry_after=1)
            self._require_credits(connection, row, cost)
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

    def reserve_for_job(self, charge: Charge, lease_s: float) -> None:
        """Reserve a job's credits. Repeated calls with the same charge make one reservation.

        Returned credits are reserved again; charged credits stay charged. The reservation does not count against the
        concurrent requests of the key.

        Args:
            charge: the charge; its id is the caller's.
            lease_s: seconds until the reservation expires. A later call can extend it but not shorten it.

        Raises:
            PermissionDenied: the key is revoked or does not exist.
            PaymentRequired: the key has too few credits.
        """
        with self._engine.begin() as connection:
            row = self._lock_key(connection, charge.key_id)
            if row is None or row.revoked_at is not None:
                raise PermissionDenied("The API key is revoked")
            now, same_charge = self._clock(), charges.c.id == charge.id
            earlier = connection.execute(select(charges).where(same_charge)).one_or_none()
            if earlier is not None and earlier.state == "charged":
                return
            expires_at = now + lease_s
            if earlier is not None and earlier.state == "reserved" and earlier.expires_at >= now:
                extended = update(charges).where(same_charge).values(expires_at=max(expires_at, earlier.expires_at))
                connection.execute(extended)
                return
            self._require_credits(connection, row, charge.cost)
            values = {"state": "reserved", "period": self._period(row.plan), "opened_at": now, "expires_at": expires_at}
            if earlier is None:
                identity = {"id": charge.id, "key_id": charge.key_id, "cost": charge.cost}
                connection.execute(insert(charges).values(identity | values))
            else:
                connection.execute(update(charges).where(same_charge).values(**values, closed_at=None))

    def extend(self, charge: Charge, lease_s: float | None = None) -> None:
        """Extend a reservation to the default lease, or to ``lease_s``, from now. A closed charge stays closed."""
        reserved = update(charges).where(charges.c.id == charge.id, charges.c.state == "reserved")
        expires_at = self._clock() + (self._lease_s if lease_s is None else lease_s)
        with self._engine.begin() as connection:
            connection.execute(reserved.values(expires_at=expires_at))

    def delete_expired(self) -> None:
        """Delete old charges that no Idempotency-Key identifies any more, and expired reservations."""
        before = self._clock() - RETENTION_S
        with self._engine.begin() as connection:
            connection.execute(delete(charges).where(charges.c.opened_at < before, charges.c.expires_at < before))

    @property
    def lease_s(self) -> float:
        """Seconds until a reservation expires if it is not extended."""
        return self._lease_s

    def settle(self, charge: Charge, final: bool = True) -> bool:
        """Charge a reservation. Returns False if there is no such reservation any more.

        Args:
            final: False allows ``release`` to refund the charge until ``confirm`` is called.
        """
        with self._engine.begin() as connection:
            row = self._lock_key(connection, charge.key_id)
            closed = (
                update(charges)
                .where(charges.c.id == charge.id, charges.c.state == "reserved")
                .values(state="charged", closed_at=self._clock() if final else None)
                .returning(charges.c.period)
            )
            period = connection.execute(closed).scalar_one_or_none()
            if row is not None and period == row.period:  # a charge of last month counts for last month
                spent = update(keys).where(keys.c.id == charge.key_id).values(used=keys.c.used + charge.cost)
                connection.execute(spent)
            return period is not None

    def confirm(self, charge: Charge) -> None:
        """Make a charge final, because part of the response was sent. Repeats of the request are free from now on."""
        charged = update(charges).where(charges.c.id == charge.id, charges.c.state == "charged")
        with self._engine.begin() as connection:
            connection.execute(charged.values(closed_at=self._clock()))

    def bind_content(self, charge: Charge, digest: str) -> None:
        """Bind the files that were fetched for a request to its Idempotency-Key.

        Args:
            digest: SHA-256 digest of the files, hexadecimal.

        Raises:
            IdempotencyMismatch: the request repeats an earlier one, and other files were fetched for that one.
        """
        same_charge = charges.c.id == charge.id
        with self._engine.begin() as connection:
            if not charge.repeats:
                connection.execute(update(charges).where(same_charge).values(content_digest=digest))
                return
            bound = connection.execute(select(charges.c.content_digest).where(same_charge)).scalar_one_or_none()
        if bound != digest:
            raise IdempotencyMismatch

    def release(self, charge: Charge) -> None:
        """Return credits that are reserved, or charged and not confirmed. The Idempotency-Key can be used again.

        An unconfirmed charge past ``expires_at`` is not refunded: a repeat of the request may have been free because
        of it.
        """
        with self._engine.begin() as connection:
            row = self._lock_key(connection, charge.key_id)
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
            self._release(connection, charge.id)

    def _has_credits(self, connection: Connection, row: Row[Any], cost: int) -> bool:
        used, reserved = self._used(row), self._reserved(connection, row.id)[0]
        return bool(row.plan == "unlimited" or used + reserved + cost <= row.credits)

    def _require_credits(self, connection: Connection, row: Row[Any], cost: int) -> None:
        """Require ``cost`` credits. Resets the usage of the key if a new month has begun.

        Raises:
            PaymentRequired: the key has too few credits.
        """
        if not self._has_credits(connection, row, cost):
            raise PaymentRequired(
                "The key has no credits left this month" if row.plan == "monthly" else "The key has no credits left"
            )
        period = self._period(row.plan)
        if period != row.period:
            connection.execute(update(keys).where(keys.c.id == row.id).values(used=0, period=period))

    def _find_earlier(self, connection: Connection, key_id: str, idempotency: Idempotency) -> Charge | None:
        """Return the free charge of a repeated request. An expired charge loses its Idempotency-Key."""
        same = select(charges).where(charges.c.key_id == key_id, charges.c.idempotency_key == idempotency.key)
        row = connection.execute(same).one_or_none()
        if row is None:
            return None
        now = self._clock()
        if row.state == "charged" and row.opened_at < now - RETENTION_S:
            connection.execute(update(charges).where(charges.c.id == row.id).values(idempotency_key=None))
            return None
        if row.state == "reserved" and row.expires_at < now:
            self._release(connection, row.id)
            return None
        if row.fingerprint != idempotency.fingerprint:
            raise IdempotencyMismatch
        unconfirmed = row.closed_at is None and row.expires_at >= now
        if row.state == "reserved" or unconfirmed:
            raise IdempotencyConflict
        return Charge(row.id, key_id, 0, repeats=True, idempotent=True)

    def _release(self, connection: Connection, charge_id: str) -> None:
        released = {"state": "released", "closed_at": self._clock(), "idempotency_key": None}
        reserved = update(charges).where(charges.c.id == charge_id, charges.c.state == "reserved")
        connection.execute(reserved.values(released))
