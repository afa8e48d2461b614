"""Places that accounts share: each has a limit of its own, and free places go to the accounts in turn."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clearcut.fair_share import exceeds_share


class FairLimiter:
    """Used from the service's event loop only. A free place goes to the account that got one the longest ago.

    Args:
        total: holders of a place at once.
        each: of them, holders of one account.
        reserve: an account that holds a place gets further ones only within its share (``clearcut.fair_share``), so
        that other
            accounts find free places even if each of these is held for long.
    """

    def __init__(self, total: int, each: int, *, reserve: bool = False) -> None:
        self._free = total
        self._each = each
        self._reserve = reserve
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._numbers = itertools.count(1)
        self._last: dict[str, int] = {}
        """By account: the number of its last place."""

    @asynccontextmanager
    async def place(self, account: str) -> AsyncIterator[None]:
        """Hold a place of ``account``, after waiting for one."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(turn)
        self._grant()
        try:
            await turn
            yield
        finally:
            if not turn.cancelled():
                self._free += 1
                self._held[account] -= 1
            self._grant()

    def _grant(self) -> None:
        while self._free:
            ready = [account for account in self._waiting if self._may_hold_more(account)]
            if not ready:
                return
            account = min(ready, key=lambda each: self._last.get(each, 0))
            turn = self._waiting[account].popleft()
            if not self._waiting[account]:
                del self._waiting[account]
            if not turn.cancelled():
                self._free -= 1
                self._held[account] += 1
                self._last[account] = next(self._numbers)
                turn.set_result(None)

    def _may_hold_more(self, account: str) -> bool:
        held = self._held[account]
        if held >= self._each:
            return False
        return not (self._reserve and held and exceeds_share(held + 1, self._free - 1))
