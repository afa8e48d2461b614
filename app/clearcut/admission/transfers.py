"""Memory of large responses while their clients read them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from clearcut.errors import ClientGone

TRANSFERS_SHARE = 16
"""Large responses being sent take at most one part in so many of the memory, except in their first ``GRACE_S``."""
GRACE_S = 2.0
"""A response is not cut off before this time: its rate is not known yet."""


@dataclass(eq=False, slots=True)
class Transfer:
    """A response that is being sent."""

    size: int
    """Bytes."""
    sent: int = 0
    begun: float = field(default_factory=time.monotonic)
    task: asyncio.Task[object] | None = field(default_factory=asyncio.current_task)
    evicted: bool = False

    @property
    def rate(self) -> float:
        """Bytes a second, on average."""
        return self.sent / max(1e-3, time.monotonic() - self.begun)


class Transfers:
    """All large responses that are being sent. Used from the event loop's thread only.

    Slow readers get their whole response as long as there is memory for it. When a further response exceeds the
    capacity, the slowest ones are cut off: clients that read a few KiB a second would hold hundreds of MiB for hours.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._transfers: set[Transfer] = set()

    @property
    def used(self) -> int:
        """Bytes of the responses that are being sent."""
        return sum(each.size for each in self._transfers if not each.evicted)

    @contextmanager
    def enter(self, size: int) -> Iterator[Transfer]:
        """Count a response while the current task sends it; cut off the slowest others for it.

        Raises:
            ClientGone: this one was cut off.
        """
        until = time.monotonic() - GRACE_S
        old = sorted((each for each in self._transfers if each.begun < until), key=lambda each: each.rate)
        for each in old:
            if self.used + size <= self._capacity:
                break
            each.evicted = True
            if each.task is not None:
                each.task.cancel()
        transfer = Transfer(size)
        self._transfers.add(transfer)
        try:
            yield transfer
        except asyncio.CancelledError:
            if not transfer.evicted or transfer.task is None:
                raise
            transfer.task.uncancel()
            raise ClientGone from None
        finally:
            self._transfers.discard(transfer)
