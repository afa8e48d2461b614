"""Responses that are stored in memory and sent again to a repeated Idempotency-Key."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CachedResponse:
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class IdempotencyCache:
    """A cache of at most ``capacity`` bytes. Used from the event loop's thread only.

    When it is full, the account with the most bytes loses its least recently used responses: no account can evict
    those of accounts that store less.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._accounts: dict[str, OrderedDict[str, CachedResponse]] = {}
        self._used: Counter[str] = Counter()

    def get(self, account: str, charge_id: str) -> CachedResponse | None:
        stored = self._accounts.get(account)
        if stored is None or charge_id not in stored:
            return None
        stored.move_to_end(charge_id)
        return stored[charge_id]

    def fits(self, body_bytes: int) -> bool:
        """Whether a response of this size can be stored at all."""
        return body_bytes < self.capacity

    def keep(self, account: str, charge_id: str, kept: CachedResponse) -> None:
        """Store a response, unless it is larger than the capacity."""
        if _weight(kept) > self.capacity or charge_id in self._accounts.get(account, ()):
            return
        self._accounts.setdefault(account, OrderedDict())[charge_id] = kept
        self._count(account, _weight(kept))
        while self.used > self.capacity:
            largest = max(self._used, key=self._used.__getitem__)
            _, gone = self._accounts[largest].popitem(last=False)
            self._count(largest, -_weight(gone))

    def _count(self, account: str, size: int) -> None:
        self.used += size
        self._used[account] += size
        if not self._used[account]:
            del self._used[account], self._accounts[account]


def _weight(kept: CachedResponse) -> int:
    """Bytes that a response takes: its body, its headers, and about as much as the objects around them."""
    return len(kept.body) + sum(len(name) + len(value) for name, value in kept.headers) + 2048
