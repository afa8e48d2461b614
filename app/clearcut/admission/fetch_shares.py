"""How many slots the requests of one account may hold while their files are fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from clearcut.errors import Overloaded
from clearcut.fair_share import exceeds_share

from .drain_rate import DrainRate


class FetchShares:
    """Used from the event loop's thread only.

    A request holds its slot while its files are fetched, and their server may let it wait. Without a share, one caller
    could hold all slots with requests of a few hundred bytes.

    Args:
        capacity: the slots of the service.
        rate: for Retry-After.
    """

    def __init__(self, capacity: int, rate: DrainRate) -> None:
        self._capacity = capacity
        self._rate = rate
        self._held: Counter[str] = Counter()

    @contextmanager
    def enter(self, account: str) -> Iterator[None]:
        """Count a request of ``account`` (empty for callers without one) whose files are being fetched.

        Raises:
            Overloaded: it would exceed the account's share (``clearcut.fair_share``).
        """
        own = self._held[account]
        if own and exceeds_share(own + 1, self._capacity - self._held.total() - 1):
            raise Overloaded(
                f"{own} requests of this caller wait for files from URLs, its share of the slots",
                retry_after=self._rate.retry_after(own),
            )
        self._held[account] += 1
        try:
            yield
        finally:
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]
