"""Calls of a real ledger file from the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import asynccontextmanager

import pytest

from clearcut.accounts import async_ledger
from clearcut.accounts.async_ledger import AsyncLedger
from clearcut.accounts.keys import Quotas
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.errors import StartupError, Unavailable
from tests.support.clock import FakeClock
from tests.support.fakes import until


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/keys.db"


@asynccontextmanager
async def opened(url):
    ledger = AsyncLedger(url, lease_s=70)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def create_key(ledger):
    ledger.create("test", "prepaid", 5, Quotas())
    return threading.current_thread().name


def count_charges(ledger):
    with ledger._engine.begin() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM charges").scalar_one()


def test_calls_run_on_a_database_thread(url):
    async def scenario():
        async with opened(url) as ledger:
            return await ledger.call(create_key), await ledger.call(lambda ledger: ledger.list_usage())

    thread, (usage,) = asyncio.run(scenario())
    assert thread.startswith("ledger")
    assert (usage.account.name, usage.account.credits) == ("test", 5)


@pytest.mark.parametrize("state", ["new", "closed"])
def test_ledger_that_is_not_open_is_unavailable(url, state):
    async def scenario():
        ledger = AsyncLedger(url, lease_s=70)
        if state == "closed":
            await ledger.open()
        await ledger.close()
        await ledger.call(create_key)

    with pytest.raises(Unavailable, match="not available"):
        asyncio.run(scenario())


def test_unusable_database_is_a_startup_error(tmp_path):
    async def scenario():
        async with opened(f"sqlite:///{tmp_path}/missing/keys.db"):
            pytest.fail("the database is open")

    with pytest.raises(StartupError):
        asyncio.run(scenario())


def test_cancelled_call_still_finishes(url):
    async def scenario():
        started, gate = threading.Event(), threading.Event()

        def work(ledger):
            started.set()
            gate.wait(10)
            create_key(ledger)

        async with opened(url) as ledger:
            caller = asyncio.create_task(ledger.call(work))
            await until(started.is_set)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            gate.set()
            return await ledger.call(lambda ledger: ledger.list_usage())

    assert len(asyncio.run(scenario())) == 1


def test_database_error_is_unavailable_and_logged(url, caplog):
    def read_missing_table(ledger):
        with ledger._engine.begin() as connection:
            connection.exec_driver_sql("SELECT secret FROM missing")

    async def scenario():
        async with opened(url) as ledger:
            with pytest.raises(Unavailable, match="cannot be reached") as caught:
                await ledger.call(read_missing_table)
            await ledger.call(create_key)
            return caught.value.retry_after

    assert asyncio.run(scenario()) == 2
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.fields == {"error": "OperationalError"}


def test_slow_database_is_unavailable(url, monkeypatch):
    gate = threading.Event()

    async def scenario():
        async with opened(url) as ledger:
            with monkeypatch.context() as patch:
                patch.setattr(async_ledger, "_DATABASE_TIMEOUT_S", 0.02)
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await ledger.call(lambda _: gate.wait(10))
            gate.set()
            assert (await ledger.call(create_key)).startswith("ledger")

    asyncio.run(scenario())


def test_open_deletes_expired_charges(url):
    earlier = Ledger(open_engine(url, 1), 70, FakeClock(time.time() - 25 * 3600))
    create_key(earlier)
    earlier.reserve(earlier.list_usage()[0].account.id, 1, 0, None)
    assert count_charges(earlier) == 1
    earlier.close()

    async def scenario():
        async with opened(url) as ledger:
            async with asyncio.timeout(10):
                while await ledger.call(count_charges):
                    pass

    asyncio.run(scenario())
