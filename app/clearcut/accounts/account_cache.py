"""Accounts by key id, cached for some seconds."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from .keys import Account

MAX_CACHED_KEYS = 10_000


class AccountCache:
    """Accounts by key id. A revocation takes effect within the lifetime of an entry.

    Args:
        find: reads an account from the database; None if there is no such key.
        lifetime_s: seconds until an entry expires.
    """

    def __init__(self, find: Callable[[str], Awaitable[Account | None]], lifetime_s: float) -> None:
        self._find = find
        self._lifetime_s = lifetime_s
        self._entries: dict[str, tuple[float, Account | None]] = {}
        """By key id: the time when the entry expires, and the account."""

    async def get(self, key_id: str) -> Account | None:
        """Return the account of a key, or None. Raises as ``find``."""
        now = time.monotonic()
        expires_at, account = self._entries.get(key_id, (0.0, None))
        if expires_at < now:
            account = await self._find(key_id)
            if len(self._entries) >= MAX_CACHED_KEYS:  # invented ids could fill the memory
                self._entries.clear()
            self._entries[key_id] = now + self._lifetime_s, account
        return account
