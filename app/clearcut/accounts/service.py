"""The accounts of a service: identifies callers, and connects the parts of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clearcut.errors import AuthenticationError, PermissionDenied
from clearcut.settings import Settings

from .account_cache import AccountCache
from .async_ledger import AsyncLedger
from .concurrency import ConcurrentRequests
from .job_charges import JobCharges
from .keys import Account, parse_key_id, verify_key
from .quotas import QuotaCounter
from .request_charges import RequestCharges
from .types import Usage

_LEASE_MARGIN_S = 10
"""Seconds that a reservation outlives the deadline of its request, for sending the response."""


class AccountService:
    """API keys, credits and quotas. Without a database every caller is admitted and nothing is counted.

    Args:
        observe: called with ``charged``, ``released`` or ``repeated`` for each request that costs credits.
    """

    def __init__(self, settings: Settings, observe: Callable[[str], None]) -> None:
        self.enabled = bool(settings.database_url)
        self._settings = settings
        self._ledger = AsyncLedger(settings.database_url, settings.deadline_s + _LEASE_MARGIN_S)
        self._cached_accounts = AccountCache(self._read_account, settings.key_cache_s)
        self._concurrent_requests = ConcurrentRequests()
        self.quotas = QuotaCounter(settings)
        self.request_charges = RequestCharges(self._ledger, self.quotas, observe)
        """The credits of synchronous requests."""
        self.job_charges = JobCharges(self._ledger, observe)
        """The credits of jobs."""

    async def start(self) -> None:
        """Open the database and the store of the rate limits.

        Raises:
            StartupError: one of them cannot be used as configured.
        """
        if self.enabled:
            self.quotas.open()
            await self._ledger.open()

    async def stop(self) -> None:
        """Wait up to 5 s for unsettled charges, then close the database."""
        await self.request_charges.stop()
        await self._ledger.close()

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
        with self._concurrent_requests.count(account.id, self.quotas.concurrent_limit(account)):
            yield

    async def find(self, key_id: str) -> Account | None:
        """Return the account of a key's id, or None. Raises Unavailable."""
        return await self._cached_accounts.get(key_id)

    async def usage(self, account: Account) -> Usage:
        """Return the used credits of an account.

        Raises:
            AuthenticationError: the account was deleted.
            Unavailable: the database cannot be reached.
        """
        usage = await self._ledger.call(lambda ledger: ledger.usage(account.id))
        if usage is None:
            raise AuthenticationError
        return usage

    async def _read_account(self, key_id: str) -> Account | None:
        return await self._ledger.call(lambda ledger: ledger.find(key_id))
