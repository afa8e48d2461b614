"""Large responses that are being sent: the slowest readers are cut off when memory is short, and only then."""

from __future__ import annotations

import asyncio

import pytest

from clearcut.admission import transfers
from clearcut.admission.transfers import Transfers
from clearcut.errors import ClientGone


@pytest.fixture(autouse=True)
def _no_grace_period(monkeypatch):
    monkeypatch.setattr(transfers, "GRACE_S", 0.0)


def ends(capacity, *sizes_and_sent):
    """Start responses of (size, bytes sent) one after the other.

    Returns:
        The bytes in use after each start, and the type of the exception that ended each response.
    """

    async def scenario():
        transfers_, finish, used = Transfers(capacity), asyncio.Event(), []

        async def send(size, sent):
            with transfers_.enter(size) as transfer:
                transfer.sent = sent
                await finish.wait()

        tasks = []
        for size, sent in sizes_and_sent:
            tasks.append(asyncio.create_task(send(size, sent)))
            await asyncio.sleep(0.01)
            used.append(transfers_.used)
        finish.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert transfers_.used == 0
        return used, [type(result) for result in results]

    return asyncio.run(scenario())


def test_slow_readers_continue_while_memory_is_free():
    assert ends(300, (100, 1), (100, 50), (100, 1)) == ([100, 200, 300], 3 * [type(None)])


def test_slowest_reader_is_cut_off_first():
    used, ended = ends(300, (150, 10_000), (150, 1), (100, 0))
    assert used == [150, 300, 250]
    assert ended == [type(None), ClientGone, type(None)]


def test_response_larger_than_capacity_is_sent():
    assert ends(100, (50, 1), (500, 0)) == ([50, 500], [ClientGone, type(None)])


def test_cancellation_from_outside_is_raised():
    async def scenario():
        async def send():
            with Transfers(1).enter(1):
                await asyncio.Event().wait()

        task = asyncio.create_task(send())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
