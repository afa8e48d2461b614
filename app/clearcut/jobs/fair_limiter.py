"""A limit on concurrent work that accounts share fairly."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clearcut.fair_share import exceeds_share


class FairLimiter:
    """Slots for concurrent work. Used from the service's event loop only.

    A free slot goes to the waiting account with the oldest last grant.

    Args:
        total: number of slots.
        per_account: maximum number of slots of one account.
        reserve: limit an account that holds a slot to its share (``clearcut.fair_share``), so that other accounts find
            free slots even if each slot is held for long.
    """

    def __init__(self, total: int, per_account: int, *, reserve: bool = False) -> None:
        self._free = total
        self._per_account = per_account
        self._reserve = reserve
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._numbers = itertools.count(1)
        self._last_grants: dict[str, int] = {}
        """By account: the number of its last grant."""

    @asynccontextmanager
    async def slot(self, account: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(granted)
        self._grant()
        try:
            await granted
            yield
        finally:
            if not granted.cancelled():
                self._free += 1
                self._held[account] -= 1
            self._grant()

    def _grant(self) -> None:
        """Grant free slots to waiting accounts."""
        while self._free:
            eligible = [account for account in self._waiting if self._may_hold_more(account)]
            if not eligible:
                return
            account = min(eligible, key=lambda waiting: self._last_grants.get(waiting, 0))
            granted = self._waiting[account].popleft()
            if not self._waiting[account]:
                del self._waiting[account]
            if not granted.cancelled():
                self._free -= 1
                self._held[account] += 1
                self._last_grants[account] = next(self._numbers)
                granted.set_result(None)

    def _may_hold_more(self, account: str) -> bool:
        held = self._held[account]
        if held >= self._per_account:
            return False
        return not (self._reserve and held and exceeds_share(held + 1, self._free - 1))
