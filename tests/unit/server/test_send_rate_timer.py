"""The minimum rate at which a client reads, over a real connection. The test fires the timer."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress

from clearcut.server.send_rate_timer import MIN_SEND_BYTES_PER_S, SendRateTimer
from clearcut.system import send_queue_bytes
from tests.support.fakes import until

INTERVAL_S = 40.0
MINIMUM = int(MIN_SEND_BYTES_PER_S * INTERVAL_S)
RECEIVE_BUFFER = MINIMUM // 8
"""Bytes of SO_RCVBUF, so that the client acknowledges less than ``MINIMUM`` of the data that it does not read."""


class Timers:
    """An event loop with timers that the test fires."""

    def __init__(self):
        self.pending = []

    def call_later(self, delay, callback):
        handle = asyncio.TimerHandle(delay, callback, (), asyncio.get_running_loop())
        self.pending.append(handle)
        return handle

    def fire(self):
        handle = self.pending.pop()
        if not handle.cancelled():
            handle._run()


class Connection:
    """A connection with more data than fits its buffers, to a client that reads on demand."""

    def __init__(self, transport, client):
        self.transport, self.client = transport, client
        self.timers, self.reports = Timers(), []
        self.timer = SendRateTimer(self.timers, transport, INTERVAL_S, lambda: self.reports.append("too slow"))

    def unsent(self):
        return self.transport.get_write_buffer_size() + send_queue_bytes(
            self.transport.get_extra_info("socket").fileno()
        )

    async def read(self, size):
        """Read on the side of the client until ``size`` more bytes have been acknowledged."""
        target = self.unsent() - size

        def reached():
            if self.unsent() > target:
                with suppress(BlockingIOError):
                    self.client.recv(1 << 16)
            return self.unsent() <= target

        await until(reached)


@asynccontextmanager
async def connected():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        client.connect(listener.getsockname())
        client.setblocking(False)
        accepted, _ = listener.accept()
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=accepted)
        transport.write(bytes(16_000_000))
        try:
            yield Connection(transport, client)
        finally:
            transport.abort()


def test_client_that_reads_too_slowly_is_reported():
    async def scenario():
        async with connected() as connection:
            connection.timer.start()
            connection.timers.fire()
            assert connection.reports == ["too slow"]
            assert connection.timers.pending == []

    asyncio.run(scenario())


def test_client_that_reads_enough_is_measured_again():
    async def scenario():
        async with connected() as connection:
            connection.timer.start()
            for _ in range(3):
                await connection.read(MINIMUM)
                connection.timers.fire()
                assert connection.reports == []
            connection.timer.start()
            connection.timers.fire()
            assert connection.reports == ["too slow"]

    asyncio.run(scenario())


def test_stopped_timer_reports_nothing():
    async def scenario():
        async with connected() as connection:
            connection.timer.start()
            connection.timer.stop()
            connection.timer.stop()
            connection.timers.fire()
            assert connection.reports == []

    asyncio.run(scenario())
