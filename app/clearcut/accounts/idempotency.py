"""A cache of responses in memory, for requests that are repeated with the same Idempotency-Key."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

ENTRY_BYTES = 2048
"""Estimated memory of one entry besides its body and headers."""


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A stored response: its status, headers and body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class IdempotencyCache:
    """An LRU cache of responses, with a fair share for each account. Used from the event loop's thread only.

    When the cache is full, the account with the most bytes loses its least recently used response. An account cannot
    evict the responses of accounts that store less.

    Args:
        capacity: maximum bytes of all responses.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        """Bytes of all stored responses."""
        self._accounts: dict[str, OrderedDict[str, CachedResponse]] = {}
        self._used: Counter[str] = Counter()

    def get(self, account: str, charge_id: str) -> CachedResponse | None:
        """Return the stored response of a charge, or None."""
        responses = self._accounts.get(account)
        if responses is None or charge_id not in responses:
            return None
        responses.move_to_end(charge_id)
        return responses[charge_id]

    def fits(self, body_bytes: int) -> bool:
        """Return whether a response of this size can be stored at all."""
        return body_bytes < self.capacity

    def put(self, account: str, charge_id: str, response: CachedResponse) -> None:
        """Store a response, unless it is larger than the capacity."""
        size = _size(response)
        if size > self.capacity or charge_id in self._accounts.get(account, ()):
            return
        self._accounts.setdefault(account, OrderedDict())[charge_id] = response
        self._count(account, size)
        while self.used > self.capacity:
            largest = max(self._used, key=self._used.__getitem__)
            _, evicted = self._accounts[largest].popitem(last=False)
            self._count(largest, -_size(evicted))

    def _count(self, account: str, size: int) -> None:
        self.used += size
        self._used[account] += size
        if not self._used[account]:
            del self._used[account], self._accounts[account]


def _size(response: CachedResponse) -> int:
    """Return the bytes that a response takes in the cache."""
    headers = sum(len(name) + len(value) for name, value in response.headers)
    return len(response.body) + headers + ENTRY_BYTES
