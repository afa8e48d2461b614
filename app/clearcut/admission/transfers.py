"""Memory for large responses while they are sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from clearcut.errors import ClientGone

TRANSFERS_DIVISOR = 16
"""Responses that are being sent use at most memory / ``TRANSFERS_DIVISOR``, except in their first ``GRACE_S``."""
GRACE_S = 2.0
"""Seconds. A response is not cut off earlier, because its rate is not known yet."""


@dataclass(eq=False, slots=True)
class Transfer:
    """A response that is being sent."""

    size: int
    """Size in bytes."""
    sent: int = 0
    """Bytes sent so far."""
    started: float = field(default_factory=time.monotonic)
    task: asyncio.Task[object] | None = field(default_factory=asyncio.current_task)
    evicted: bool = False
    """Whether the response was cut off for another one."""

    @property
    def rate(self) -> float:
        """Average rate in bytes per second."""
        return self.sent / max(1e-3, time.monotonic() - self.started)


class Transfers:
    """All large responses that are being sent. Used from the event loop's thread only.

    Slow clients receive their whole response while there is memory for it. When a new response exceeds the capacity,
    the slowest responses are cut off. Otherwise clients that read a few KiB a second would hold hundreds of MiB for
    hours.

    Args:
        capacity: maximum bytes of all responses that are being sent.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._transfers: set[Transfer] = set()

    @property
    def used(self) -> int:
        """Bytes of the responses that are being sent."""
        return sum(transfer.size for transfer in self._transfers if not transfer.evicted)

    @contextmanager
    def enter(self, size: int) -> Iterator[Transfer]:
        """Count a response while the current task sends it. Cut off the slowest others if memory is short.

        Args:
            size: bytes of the response.

        Raises:
            ClientGone: this response was cut off.
        """
        started_before = time.monotonic() - GRACE_S
        candidates = [transfer for transfer in self._transfers if transfer.started < started_before]
        for slowest in sorted(candidates, key=lambda transfer: transfer.rate):
            if self.used + size <= self._capacity:
                break
            slowest.evicted = True
            if slowest.task is not None:
                slowest.task.cancel()
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
