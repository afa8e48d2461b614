"""The share of request slots that one account may hold while files are fetched for its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from clearcut.errors import Overloaded
from clearcut.fair_share import exceeds_share

from .completion_rate import CompletionRate


class FetchShares:
    """Counts, for each account, the requests that wait for files from URLs. Used from the event loop's thread only.

    A request holds its slot while its files are fetched, and the remote server may be slow. Without a limit, one
    caller could hold all slots with requests of a few hundred bytes.

    Args:
        capacity: number of request slots of the service.
        rate: measures completed requests, for Retry-After.
    """

    def __init__(self, capacity: int, rate: CompletionRate) -> None:
        self._capacity = capacity
        self._rate = rate
        self._held: Counter[str] = Counter()

    @contextmanager
    def enter(self, account: str) -> Iterator[None]:
        """Count a request while its files are fetched.

        Args:
            account: id of the account; empty for callers without an account.

        Raises:
            Overloaded: the account would exceed its share (``clearcut.fair_share``).
        """
        own = self._held[account]
        if own and exceeds_share(own + 1, self._capacity - self._held.total() - 1):
            raise Overloaded(
                f"{own} of your requests wait for files from URLs, which is your share of the request slots",
                retry_after=self._rate.retry_after(own),
            )
        self._held[account] += 1
        try:
            yield
        finally:
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]
