"""Counts the bytes in a store against its quota, and against the share of it that one owner may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from clearcut.errors import StorageFull
from clearcut.fair_share import exceeds_share

SEPARATOR = "--"


def owned_key(owner: str, name: str) -> str:
    """A key whose bytes count for ``owner``; for nobody if that is empty."""
    return f"{owner}{SEPARATOR}{name}" if owner else name


class QuotaUsage:
    """Not thread-safe: the store holds its lock."""

    def __init__(self, quota_bytes: int) -> None:
        self._quota = quota_bytes
        self._total = 0
        self._owners: Counter[str] = Counter()

    def recount(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Start again with these (key, bytes)."""
        self._total, self._owners = 0, Counter()
        for key, size in sizes:
            self.add(key, size)

    def require(self, key: str, size: int) -> None:
        """Refuse bytes that would exceed the quota, or their owner's share of it.

        Raises:
            StorageFull: they would.
        """
        owner = _owner(key)
        free = self._quota - self._total - size
        if free < 0:
            raise StorageFull
        if owner and exceeds_share(self._owners[owner] + size, free):
            raise StorageFull("This key has used its share of the storage for inputs and outputs")

    def add(self, key: str, size: int) -> None:
        self._total += size
        if owner := _owner(key):
            self._owners[owner] += size

    def remove(self, key: str, size: int) -> None:
        self.add(key, -size)


def _owner(key: str) -> str:
    owner, separator, _ = key.partition(SEPARATOR)
    return owner if separator else ""
