"""Counts the bytes in a store against its quota and against the share of each owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from clearcut.errors import StorageFull
from clearcut.fair_share import exceeds_share

SEPARATOR = "--"
"""Separates the owner from the name in a key."""


def owned_key(owner: str, name: str) -> str:
    """Return a key with an owner. Its bytes count for the owner; without an owner they count for no share."""
    return f"{owner}{SEPARATOR}{name}" if owner else name


class QuotaUsage:
    """The bytes in use, in total and by owner. Not thread-safe; the store uses a lock.

    Args:
        quota_bytes: maximum bytes in total.
    """

    def __init__(self, quota_bytes: int) -> None:
        self._quota = quota_bytes
        self._total = 0
        self._owners: Counter[str] = Counter()

    def recount(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Replace all counts by the given pairs of key and size in bytes."""
        self._total, self._owners = 0, Counter()
        for key, size in sizes:
            self.add(key, size)

    def require(self, key: str, size: int) -> None:
        """Check that ``size`` more bytes can be stored under the key.

        Raises:
            StorageFull: the quota, or the share of the key's owner, would be exceeded.
        """
        owner = _owner(key)
        free = self._quota - self._total - size
        if free < 0:
            raise StorageFull
        if owner and exceeds_share(self._owners[owner] + size, free):
            raise StorageFull("This key has used its share of the storage for inputs and outputs")

    def add(self, key: str, size: int) -> None:
        """Count ``size`` stored bytes."""
        self._total += size
        if owner := _owner(key):
            self._owners[owner] += size

    def remove(self, key: str, size: int) -> None:
        """Count ``size`` deleted bytes."""
        self.add(key, -size)


def _owner(key: str) -> str:
    owner, separator, _ = key.partition(SEPARATOR)
    return owner if separator else ""
