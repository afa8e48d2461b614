"""Counts the bytes in a store against its quota and against the share of each owner."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from clearcut.errors import StorageFull
from clearcut.fair_share import exceeds_share

SEPARATOR = "--"
"""Separates the owner from the name in a key."""


def owned_key(owner: str, name: str) -> str:
    """Return a key with an owner. Its bytes count for the owner; without an owner they count for no share."""
    return f"{owner}{SEPARATOR}{name}" if owner else name


class QuotaUsage:
    """The bytes in use, in total and by owner. Thread-safe.

    Other processes may use the same store, so all blobs are counted again from time to time.

    Args:
        quota_bytes: maximum bytes in total.
        sizes: returns (key, size in bytes) of all blobs in the store.
        recount_s: seconds between two counts of all blobs.
    """

    def __init__(self, quota_bytes: int, sizes: Callable[[], Iterable[tuple[str, int]]], recount_s: float) -> None:
        self._quota = quota_bytes
        self._sizes = sizes
        self._recount_s = recount_s
        self._counted_at = float("-inf")
        self._lock = threading.Lock()
        self._total = 0
        self._owners: Counter[str] = Counter()

    def require_space(self, key: str) -> None:
        """Check that at least one byte can be stored under the key.

        Raises:
            StorageFull: the quota, or the share of the key's owner, is used up.
        """
        with self._lock:
            self._require(key, 1)

    def reserve(self, key: str, size: int) -> None:
        """Count ``size`` bytes that will be stored under the key.

        Raises:
            StorageFull: the quota, or the share of the key's owner, would be exceeded.
        """
        with self._lock:
            self._require(key, size)
            self._add(key, size)

    def remove(self, key: str, size: int) -> None:
        """Count ``size`` deleted bytes."""
        with self._lock:
            self._add(key, -size)

    def invalidate(self) -> None:
        """Count all blobs again at the next call."""
        self._counted_at = float("-inf")

    def _require(self, key: str, size: int) -> None:
        if time.monotonic() - self._counted_at >= self._recount_s:
            self._recount()
        owner = _owner(key)
        free = self._quota - self._total - size
        if free < 0:
            raise StorageFull
        if owner and exceeds_share(self._owners[owner] + size, free):
            raise StorageFull("This key has used its share of the storage for inputs and outputs")

    def _recount(self) -> None:
        sizes = list(self._sizes())
        self._total, self._owners = 0, Counter()
        for key, size in sizes:
            self._add(key, size)
        self._counted_at = time.monotonic()

    def _add(self, key: str, size: int) -> None:
        self._total += size
        if owner := _owner(key):
            self._owners[owner] += size


def _owner(key: str) -> str:
    owner, separator, _ = key.partition(SEPARATOR)
    return owner if separator else ""
