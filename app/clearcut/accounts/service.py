"""The door: who asks, may they, how much is left. The ledger's blocking calls run on threads of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from clearcut.errors import AuthenticationError, PermissionDenied, RateLimited, Unavailable
from clearcut.settings import Settings

from . import pricing
from .keys import Account, parse_key_id, verify_key
from .ledger import Ledger
from .quotas import QuotaCounter
from .schema import open_engine, threads_for
from .types import Charge, Idempotency, Usage

log = logging.getLogger("clearcut")
T = TypeVar("T")

_LEASE_MARGIN_S = 10  # for handing the answer over, after the deadline
_REMEMBERED_KEYS = 10_000
_PATIENCE_S = 10  # with the database, its line of waiting requests included


class AccountService:
    """Keys, credits and rates; without a database everybody enters and nothing is counted."""

    def __init__(self, settings: Settings, observe: Callable[[str], None]) -> None:
        """
        Args:
            observe: told ``charged``, ``released`` or ``repeated`` for each request that costs.
        """
        self.enabled = bool(settings.database_url)
        self._settings = settings
        self._observe = observe
        self._pool = ThreadPoolExecutor(threads_for(settings.database_url), thread_name_prefix="ledger")
        self._ledger: Ledger | None = None
        self.quotas = QuotaCounter(settings)
        self._known: dict[str, tuple[float, Account | None]] = {}
        self._present: Counter[str] = Counter()
        self._unsettled = 0
        self._leases: dict[str, asyncio.Task[None]] = {}
        """By charge: what keeps its reservation alive."""
        self._tidying: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    async def start(self) -> None:
        """Reach the database.

        Raises:
            StartupError: it, or the store of the rate limits, cannot be used as configured.
        """
        if not self.enabled:
            return
        url = self._settings.database_url
        self.quotas.open()
        engine = await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: open_engine(url, threads_for(url))
        )
        self._ledger = Ledger(engine, self._settings.deadline_s + _LEASE_MARGIN_S)
        self._tidying = asyncio.create_task(self._tidy(self._ledger))

    async def stop(self) -> None:
        """Wait a little for what is still to be settled, then close the database."""
        try:
            async with asyncio.timeout(5):
                await self._settled.wait()
        except TimeoutError:
            log.warning("stopped with unsettled credits", extra={"fields": {"count": self._unsettled}})
        for task in (*self._leases.values(), *([self._tidying] if self._tidying else [])):
            task.cancel()
        if self._ledger is not None:
            await self._call(self._ledger.close)
            self._ledger = None
        self._pool.shutdown(wait=False)

    async def identify(self, key: str | None) -> Account | None:
        """The account of a key; None for a caller without one where that is allowed.

        A key that was found is taken for good for ``key_cache_s`` seconds: so long may a revocation take.

        Raises:
            AuthenticationError: no key, or none of ours.
            PermissionDenied: it is revoked.
            Unavailable: the database cannot be asked.
        """
        if not self.enabled:
            return None
        if key is None and self._settings.allow_anonymous:
            return None
        key_id = parse_key_id(key or "")
        account = await self._account(key_id) if key_id is not None else None
        if not verify_key(key or "", account) or account is None:
            raise AuthenticationError
        if account.revoked:
            raise PermissionDenied("The API key is revoked")
        return account

    @contextmanager
    def entered(self, account: Account | None) -> Iterator[None]:
        """Count a request of the account from its first byte on, in this process.

        Raises:
            RateLimited: it has as many here already as it may have everywhere.
        """
        if account is None:
            yield
            return
        most = self._concurrent(account)
        if most and self._present[account.id] >= most:
            raise RateLimited(f"The key has {self._present[account.id]} of {most} concurrent requests", retry_after=1)
        self._present[account.id] += 1
        try:
            yield
        finally:
            self._present[account.id] -= 1
            if not self._present[account.id]:
                del self._present[account.id]

    async def can_request(self, account: Account | None, idempotency_key: str | None) -> bool:
        """Return whether the account can pay for a request, or has used this Idempotency-Key before.

        Reserves no credits.
        """
        if account is None or account.plan == "unlimited":
            return True
        ledger, cost = self._open_ledger(), pricing.request_price(account)
        return await self._call(lambda: ledger.can_request(account.id, cost, idempotency_key))

    async def open(self, account: Account, idempotency: Idempotency | None) -> Charge:
        """Reserve the price of a request. Always ``close`` the charge. Raises as ``Ledger.open``."""
        ledger, cost = self._open_ledger(), pricing.request_price(account)
        charge = await self._call(lambda: ledger.open(account.id, cost, self._concurrent(account), idempotency))
        if charge.repeats:
            self._observe("repeated")
        else:
            self._unsettled += 1
            self._settled.clear()
            self._leases[charge.id] = asyncio.create_task(self._keep_alive(charge))
        return charge

    async def _keep_alive(self, charge: Charge) -> None:
        """Extend the reservation for as long as the request lives: a slow reader must not outlast it."""
        ledger = self._open_ledger()
        while True:
            await asyncio.sleep(ledger.lease_s / 3)
            with suppress(Unavailable):
                await self._call(lambda: ledger.extend(charge))

    async def bind_content(self, charge: Charge, digest: str) -> None:
        """See ``Ledger.bind_content``."""
        ledger = self._open_ledger()
        await self._call(lambda: ledger.bind_content(charge, digest))

    async def charge(self, charge: Charge) -> None:
        """Charge what was reserved, before the response starts.

        Raises:
            Unavailable: the database cannot be reached or the reservation is gone; nothing of the cut-out may be sent.
        """
        if charge.repeats:
            return
        ledger = self._open_ledger()
        if not await self._call(lambda: ledger.settle(charge, final=False)):
            raise Unavailable("The credit reserved for this request has expired; send the request again")

    async def close(self, charge: Charge, sent: bool) -> None:
        """Finish a request's charge. Failures are logged, as the response has ended.

        Args:
            sent: whether part of the response body was sent; otherwise the credit is given back.
        """
        if charge.repeats:
            return
        if (lease := self._leases.pop(charge.id, None)) is not None:
            lease.cancel()
        ledger = self._open_ledger()
        try:
            if not sent:
                await self._call(lambda: ledger.release(charge))
            elif charge.idempotent:
                await self._call(lambda: ledger.confirm(charge))
            self._observe("charged" if sent else "released")
        except Unavailable:
            log.error("credits were not settled", extra={"fields": {"charge": charge.id, "sent": sent}})
        finally:
            self._unsettled -= 1
            if not self._unsettled:
                self._settled.set()

    async def hold(self, charge: Charge, lease_s: float) -> None:
        """Reserve a job's credits; see ``Ledger.hold``."""
        ledger = self._open_ledger()
        await self._call(lambda: ledger.hold(charge, lease_s))

    async def keep(self, charge: Charge, lease_s: float) -> None:
        """Let what is reserved for a job live for so long; nothing happens where it is closed. Raises Unavailable."""
        ledger = self._open_ledger()
        await self._call(lambda: ledger.extend(charge, lease_s))

    async def settle(self, charge: Charge, done: bool) -> None:
        """Charge for a job that is done, give back what one that failed had reserved; once, however often it is said.

        Raises:
            Unavailable: the database cannot be asked.
        """
        ledger = self._open_ledger()
        if done:
            if await self._call(lambda: ledger.settle(charge)):
                self._observe("charged")
        else:
            await self._call(lambda: ledger.release(charge))
            self._observe("released")

    async def find(self, key_id: str) -> Account | None:
        """The account of a key's id."""
        return await self._account(key_id)

    async def usage(self, account: Account) -> Usage:
        ledger = self._open_ledger()
        usage = await self._call(lambda: ledger.usage(account.id))
        if usage is None:
            raise AuthenticationError
        return usage

    def _concurrent(self, account: Account) -> int:
        own = account.quotas.concurrent
        return self._settings.concurrent if own is None else own

    async def _account(self, key_id: str) -> Account | None:
        now = time.monotonic()
        until, account = self._known.get(key_id, (0.0, None))
        if until < now:
            ledger = self._open_ledger()
            account = await self._call(lambda: ledger.find(key_id))
            if len(self._known) >= _REMEMBERED_KEYS:  # of made-up ids, most likely
                self._known.clear()
            self._known[key_id] = now + self._settings.key_cache_s, account
        return account

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            raise Unavailable("The accounts are not available")
        return self._ledger

    async def _tidy(self, ledger: Ledger) -> None:
        """Every hour, and at start: the table of charges holds a day, not a lifetime."""
        while True:
            with suppress(Unavailable):
                await self._call(ledger.forget)
            await asyncio.sleep(3600)

    async def _call(self, work: Callable[[], T]) -> T:
        """Do the ledger's work on its threads, to the end even if the caller is cancelled: a reservation that nobody
        knows of would be lost until it expires."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, work))
        except TimeoutError:
            log.error("the accounts' database is too slow")
            raise Unavailable("The accounts' database cannot be reached", retry_after=2) from None
        except SQLAlchemyError as exc:
            log.error("the accounts' database failed", extra={"fields": {"error": type(exc).__name__}})
            raise Unavailable("The accounts' database cannot be reached", retry_after=2) from None
