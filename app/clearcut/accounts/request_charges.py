"""The credits of synchronous requests: reserved before the work, charged before the response, settled after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from clearcut.errors import Unavailable

from . import pricing
from .async_ledger import AsyncLedger
from .keys import Account
from .quotas import QuotaCounter
from .types import Charge, Idempotency

log = logging.getLogger("clearcut")

_STOP_TIMEOUT_S = 5


class RequestCharges:
    """The charges of all requests in progress.

    Args:
        observe: called with ``charged``, ``released`` or ``repeated`` for each request that costs credits.
    """

    def __init__(self, ledger: AsyncLedger, quotas: QuotaCounter, observe: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._quotas = quotas
        self._observe = observe
        self._leases: dict[str, asyncio.Task[None]] = {}
        """By charge: the task that extends its reservation."""
        self._settled = asyncio.Event()
        self._settled.set()
        self.unsettled = 0
        """Number of reservations that are not settled yet."""

    async def stop(self) -> None:
        """Wait up to 5 s for unsettled charges."""
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._settled.wait()
        except TimeoutError:
            log.warning("stopped with unsettled charges", extra={"fields": {"count": self.unsettled}})
        for task in self._leases.values():
            task.cancel()

    async def can_request(self, account: Account | None, idempotency_key: str | None) -> bool:
        """Return whether the account can pay for a request, or has used this Idempotency-Key before.

        Reserves no credits.
        """
        if account is None or account.plan == "unlimited":
            return True
        cost = pricing.request_price(account)
        return await self._ledger.call(lambda ledger: ledger.can_request(account.id, cost, idempotency_key))

    async def reserve(self, account: Account, idempotency: Idempotency | None) -> Charge:
        """Reserve the price of a request. Always ``close`` the charge. Raises as ``Ledger.reserve``."""
        cost, concurrent = pricing.request_price(account), self._quotas.concurrent_limit(account)
        charge = await self._ledger.call(lambda ledger: ledger.reserve(account.id, cost, concurrent, idempotency))
        if charge.repeats:
            self._observe("repeated")
        else:
            self.unsettled += 1
            self._settled.clear()
            self._leases[charge.id] = asyncio.create_task(self._extend_lease(charge))
        return charge

    async def _extend_lease(self, charge: Charge) -> None:
        """Extend the reservation while the request is in progress, however slowly the client reads."""
        while True:
            await asyncio.sleep(self._ledger.lease_s / 3)
            with suppress(Unavailable):
                await self._ledger.call(lambda ledger: ledger.extend(charge))

    async def bind_content(self, charge: Charge, digest: str) -> None:
        """Bind fetched files to an Idempotency-Key; see ``Ledger.bind_content``."""
        await self._ledger.call(lambda ledger: ledger.bind_content(charge, digest))

    async def charge(self, charge: Charge) -> None:
        """Charge a reservation, before the response starts.

        Raises:
            Unavailable: the database cannot be reached, or the reservation has expired. Do not send the cut-out then.
        """
        if charge.repeats:
            return
        if not await self._ledger.call(lambda ledger: ledger.settle(charge, final=False)):
            raise Unavailable("The credit reserved for this request has expired; send the request again")

    async def close(self, charge: Charge, sent: bool) -> None:
        """Finish a request's charge. A failure is only logged, because the response has ended already.

        Args:
            sent: whether part of the response body was sent. Otherwise the credits are returned.
        """
        if charge.repeats:
            return
        if (lease := self._leases.pop(charge.id, None)) is not None:
            lease.cancel()
        try:
            if not sent:
                await self._ledger.call(lambda ledger: ledger.release(charge))
            elif charge.idempotent:
                await self._ledger.call(lambda ledger: ledger.confirm(charge))
            self._observe("charged" if sent else "released")
        except Unavailable:
            log.error("charge was not settled", extra={"fields": {"charge": charge.id, "sent": sent}})
        finally:
            self.unsettled -= 1
            if not self.unsettled:
                self._settled.set()
