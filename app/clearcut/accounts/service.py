"""Authentication, credits and quotas of requests. The blocking calls of the ledger run on their own threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from clearcut.errors import AuthenticationError, PermissionDenied, Unavailable
from clearcut.settings import Settings

from . import pricing
from .account_cache import AccountCache
from .concurrency import ConcurrentRequests
from .keys import Account, parse_key_id, verify_key
from .quotas import QuotaCounter
from .types import Charge, Idempotency, Usage

if TYPE_CHECKING:
    from .ledger import Ledger

log = logging.getLogger("clearcut")
T = TypeVar("T")

_LEASE_MARGIN_S = 10
"""Seconds that a reservation outlives the deadline of its request, for sending the response."""
_DATABASE_TIMEOUT_S = 10
"""Seconds, including the time that a call waits for a thread."""
_STOP_TIMEOUT_S = 5


class AccountService:
    """API keys, credits and quotas. Without a database every caller is admitted and nothing is counted.

    Args:
        observe: called with ``charged``, ``released`` or ``repeated`` for each request that costs credits.
    """

    def __init__(self, settings: Settings, observe: Callable[[str], None]) -> None:
        self.enabled = bool(settings.database_url)
        self._settings = settings
        self._observe = observe
        self._pool = ThreadPoolExecutor(_database_threads(settings.database_url), thread_name_prefix="ledger")
        self._ledger: Ledger | None = None
        self.quotas = QuotaCounter(settings)
        self._cached_accounts = AccountCache(self._find_key, settings.key_cache_s)
        self._concurrent_requests = ConcurrentRequests()
        self._unsettled = 0
        self._leases: dict[str, asyncio.Task[None]] = {}
        """By charge: the task that extends its reservation."""
        self._cleanup: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    async def start(self) -> None:
        """Open the database and the store of the rate limits.

        Raises:
            StartupError: one of them cannot be used as configured.
        """
        if not self.enabled:
            return
        from .ledger import Ledger  # loads SQLAlchemy, which a service without accounts does not need
        from .schema import open_engine

        url = self._settings.database_url
        self.quotas.open()
        engine = await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: open_engine(url, _database_threads(url))
        )
        self._ledger = Ledger(engine, self._settings.deadline_s + _LEASE_MARGIN_S)
        self._cleanup = asyncio.create_task(self._delete_expired(self._ledger))

    async def stop(self) -> None:
        """Wait up to 5 s for unsettled charges, then close the database."""
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._settled.wait()
        except TimeoutError:
            log.warning("stopped with unsettled charges", extra={"fields": {"count": self._unsettled}})
        for task in (*self._leases.values(), *([self._cleanup] if self._cleanup else [])):
            task.cancel()
        if self._ledger is not None:
            await self._call(self._ledger.close)
            self._ledger = None
        self._pool.shutdown(wait=False)

    async def identify(self, key: str | None) -> Account | None:
        """Return the account of a key; None for a caller without a key if anonymous callers are allowed.

        Accounts are cached for ``key_cache_s`` seconds. Revocations take effect within this time.

        Raises:
            AuthenticationError: the key is missing or invalid.
            PermissionDenied: the key is revoked.
            Unavailable: the database cannot be reached.
        """
        if not self.enabled:
            return None
        if key is None and self._settings.allow_anonymous:
            return None
        key_id = parse_key_id(key or "")
        account = await self._cached_accounts.get(key_id) if key_id is not None else None
        if not verify_key(key or "", account) or account is None:
            raise AuthenticationError
        if account.revoked:
            raise PermissionDenied("The API key is revoked")
        return account

    @contextmanager
    def count_concurrent(self, account: Account | None) -> Iterator[None]:
        """Count a request of the account in this process, from its first byte on.

        Raises:
            RateLimited: the account has its maximum number of concurrent requests in this process alone.
        """
        if account is None:
            yield
            return
        with self._concurrent_requests.count(account.id, self._concurrent_limit(account)):
            yield

    async def can_request(self, account: Account | None, idempotency_key: str | None) -> bool:
        """Return whether the account can pay for a request, or has used this Idempotency-Key before.

        Reserves no credits.
        """
        if account is None or account.plan == "unlimited":
            return True
        ledger, cost = self._open_ledger(), pricing.request_price(account)
        return await self._call(lambda: ledger.can_request(account.id, cost, idempotency_key))

    async def reserve(self, account: Account, idempotency: Idempotency | None) -> Charge:
        """Reserve the price of a request. Always ``close`` the charge. Raises as ``Ledger.reserve``."""
        ledger, cost = self._open_ledger(), pricing.request_price(account)
        charge = await self._call(
            lambda: ledger.reserve(account.id, cost, self._concurrent_limit(account), idempotency)
        )
        if charge.repeats:
            self._observe("repeated")
        else:
            self._unsettled += 1
            self._settled.clear()
            self._leases[charge.id] = asyncio.create_task(self._extend_lease(charge))
        return charge

    async def _extend_lease(self, charge: Charge) -> None:
        """Extend the reservation while the request is in progress, however slowly the client reads."""
        ledger = self._open_ledger()
        while True:
            await asyncio.sleep(ledger.lease_s / 3)
            with suppress(Unavailable):
                await self._call(lambda: ledger.extend(charge))

    async def bind_content(self, charge: Charge, digest: str) -> None:
        """Bind fetched files to an Idempotency-Key; see ``Ledger.bind_content``."""
        ledger = self._open_ledger()
        await self._call(lambda: ledger.bind_content(charge, digest))

    async def charge(self, charge: Charge) -> None:
        """Charge a reservation, before the response starts.

        Raises:
            Unavailable: the database cannot be reached, or the reservation has expired. Do not send the cut-out then.
        """
        if charge.repeats:
            return
        ledger = self._open_ledger()
        if not await self._call(lambda: ledger.settle(charge, final=False)):
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
        ledger = self._open_ledger()
        try:
            if not sent:
                await self._call(lambda: ledger.release(charge))
            elif charge.idempotent:
                await self._call(lambda: ledger.confirm(charge))
            self._observe("charged" if sent else "released")
        except Unavailable:
            log.error("charge was not settled", extra={"fields": {"charge": charge.id, "sent": sent}})
        finally:
            self._unsettled -= 1
            if not self._unsettled:
                self._settled.set()

    async def reserve_for_job(self, charge: Charge, lease_s: float) -> None:
        """Reserve a job's credits; see ``Ledger.reserve_for_job``."""
        ledger = self._open_ledger()
        await self._call(lambda: ledger.reserve_for_job(charge, lease_s))

    async def extend(self, charge: Charge, lease_s: float) -> None:
        """Extend a job's reservation, if it is not closed. Raises Unavailable."""
        ledger = self._open_ledger()
        await self._call(lambda: ledger.extend(charge, lease_s))

    async def settle_job(self, charge: Charge, succeeded: bool) -> None:
        """Charge a job that succeeded, or return the credits of a job that failed. Repeated calls have no effect.

        Raises:
            Unavailable: the database cannot be reached.
        """
        ledger = self._open_ledger()
        if succeeded:
            if await self._call(lambda: ledger.settle(charge)):
                self._observe("charged")
        else:
            await self._call(lambda: ledger.release(charge))
            self._observe("released")

    async def find(self, key_id: str) -> Account | None:
        """Return the account of a key's id, or None. Raises Unavailable."""
        return await self._cached_accounts.get(key_id)

    async def usage(self, account: Account) -> Usage:
        """Return the used credits of an account.

        Raises:
            AuthenticationError: the account was deleted.
            Unavailable: the database cannot be reached.
        """
        ledger = self._open_ledger()
        usage = await self._call(lambda: ledger.usage(account.id))
        if usage is None:
            raise AuthenticationError
        return usage

    def _concurrent_limit(self, account: Account) -> int:
        limit = account.quotas.concurrent
        return self._settings.concurrent if limit is None else limit

    async def _find_key(self, key_id: str) -> Account | None:
        ledger = self._open_ledger()
        return await self._call(lambda: ledger.find(key_id))

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            raise Unavailable("Accounts are not available")
        return self._ledger

    async def _delete_expired(self, ledger: Ledger) -> None:
        """Delete old charges at start and every hour."""
        while True:
            with suppress(Unavailable):
                await self._call(ledger.delete_expired)
            await asyncio.sleep(3600)

    async def _call(self, work: Callable[[], T]) -> T:
        """Call the ledger on its threads. The call finishes even if the caller is cancelled.

        Otherwise a reservation could exist that no request knows of, until it expires.

        Raises:
            Unavailable: the database cannot be reached, or it is too slow.
        """
        from sqlalchemy.exc import SQLAlchemyError

        try:
            async with asyncio.timeout(_DATABASE_TIMEOUT_S):
                return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, work))
        except TimeoutError:
            log.error("account database timed out")
            raise Unavailable("The account database cannot be reached", retry_after=2) from None
        except SQLAlchemyError as exc:
            log.error("account database failed", extra={"fields": {"error": type(exc).__name__}})
            raise Unavailable("The account database cannot be reached", retry_after=2) from None


def _database_threads(url: str) -> int:
    """Return the number of database threads. SQLite has one writer at a time, so more threads would only wait."""
    return 1 if url.startswith("sqlite") else 4
