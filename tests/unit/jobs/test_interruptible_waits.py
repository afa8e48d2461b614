"""Waits of job steps: a shutdown interrupts waits, but not work."""

from __future__ import annotations

import asyncio

import pytest

from clearcut.errors import CorruptImage, DeadlineExceeded, Unavailable
from clearcut.jobs import interruptible_waits
from clearcut.jobs.fair_limiter import FairLimiter
from clearcut.jobs.interruptible_waits import InterruptibleWaits


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(interruptible_waits, "_FIRST_PAUSE_S", 0.001)


def test_shutdown_cancels_waits_but_not_work():
    async def scenario():
        waits, started, gate = InterruptibleWaits(), asyncio.Event(), asyncio.Event()

        async def work():
            await waits.sleep(0)
            started.set()
            await gate.wait()
            return "done"

        waiting, working = asyncio.create_task(waits.sleep(60)), asyncio.create_task(work())
        async with asyncio.timeout(10):
            await started.wait()
        waits.cancel_all()
        gate.set()
        assert await working == "done"
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())


def test_no_wait_starts_after_shutdown():
    async def scenario():
        waits = InterruptibleWaits()
        waits.cancel_all()
        with pytest.raises(asyncio.CancelledError):
            await waits.sleep(0)

    asyncio.run(scenario())


def test_shutdown_interrupts_only_the_wait_for_a_slot():
    async def scenario():
        waits, limiter = InterruptibleWaits(), FairLimiter(1, 1)
        started, gate = asyncio.Event(), asyncio.Event()

        async def job():
            async with waits.slot(limiter.slot("a")):
                started.set()
                await gate.wait()
                return "done"

        first, second = asyncio.create_task(job()), asyncio.create_task(job())
        async with asyncio.timeout(10):
            await started.wait()
        assert list(waits._idle) == [second]
        waits.cancel_all()
        gate.set()
        assert await first == "done"
        with pytest.raises(asyncio.CancelledError):
            await second
        async with asyncio.timeout(10), limiter.slot("b"):
            pass  # both jobs have returned the slot

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [Unavailable("database"), DeadlineExceeded("store"), OSError("disk")])
def test_unreachable_stores_are_retried(error, short_pauses):
    errors = [error, error, error]

    async def work():
        if errors:
            raise errors.pop()
        return "done"

    assert asyncio.run(InterruptibleWaits().retry(work)) == "done"
    assert errors == []


@pytest.mark.parametrize(("error", "timeout_s"), [(CorruptImage("broken"), 60), (OSError("disk"), 0)])
def test_other_and_late_errors_are_raised(error, timeout_s, short_pauses):
    attempts = []

    async def work():
        attempts.append(1)
        raise error

    with pytest.raises(type(error)):
        asyncio.run(InterruptibleWaits().retry(work, timeout_s))
    assert len(attempts) == 1


def test_shutdown_ends_retries():
    async def scenario():
        waits, started = InterruptibleWaits(), asyncio.Event()

        async def work():
            started.set()
            raise OSError("disk")

        retrying = asyncio.create_task(waits.retry(work))
        async with asyncio.timeout(10):
            await started.wait()
        waits.cancel_all()
        with pytest.raises(asyncio.CancelledError):
            await retrying

    asyncio.run(scenario())
