"""Minimum rate at which a client must read its response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from clearcut.system import send_queue_bytes

MIN_SEND_BYTES_PER_S = 8 * 1024
"""A client that reads a response more slowly than this is disconnected."""


class SendRateTimer:
    """Measures how much a client reads while the transport's buffer is full."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        interval_s: float,
        on_too_slow: Callable[[], None],
    ) -> None:
        """
        Args:
            interval_s: duration of one measurement.
            on_too_slow: called when the client has read less than the minimum in one interval.
        """
        self._loop = loop
        self._transport = transport
        self._interval_s = interval_s
        self._on_too_slow = on_too_slow
        self._handle: asyncio.TimerHandle | None = None
        self._unsent = 0
        """Bytes that the client had not acknowledged at the start of the interval."""

    def start(self) -> None:
        """Start an interval."""
        self._unsent = _unsent_bytes(self._transport)
        self._handle = self._loop.call_later(self._interval_s, self._check)

    def stop(self) -> None:
        """Stop the timer, if it runs."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _check(self) -> None:
        self._handle = None
        if self._unsent - _unsent_bytes(self._transport) >= MIN_SEND_BYTES_PER_S * self._interval_s:
            self.start()
        else:
            self._on_too_slow()


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """Return the bytes that the client has not acknowledged, including the kernel's send queue.

    The transport's buffer alone does not change while the kernel sends megabytes from its queue.
    """
    return transport.get_write_buffer_size() + send_queue_bytes(transport.get_extra_info("socket").fileno())
