"""The concurrent requests of each account in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from clearcut.errors import RateLimited


class ConcurrentRequests:
    """Requests of each account in this process, from their first byte on."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextmanager
    def count(self, account: str, limit: int) -> Iterator[None]:
        """Count a request of an account. A limit of 0 permits any number.

        Raises:
            RateLimited: the account has ``limit`` requests.
        """
        if limit and self._counts[account] >= limit:
            raise RateLimited(f"The key has {self._counts[account]} of {limit} concurrent requests", retry_after=1)
        self._counts[account] += 1
        try:
            yield
        finally:
            self._counts[account] -= 1
            if not self._counts[account]:
                del self._counts[account]
