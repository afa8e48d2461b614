"""The credits of synchronous requests, in a real ledger file."""

from __future__ import annotations

import asyncio
import logging

import pytest

from clearcut.accounts import request_charges
from clearcut.accounts.async_ledger import AsyncLedger
from clearcut.accounts.keys import Quotas
from clearcut.accounts.quotas import QuotaCounter
from clearcut.accounts.request_charges import RequestCharges
from clearcut.accounts.types import Idempotency
from clearcut.errors import RateLimited, Unavailable
from clearcut.settings import Settings

FIRST = Idempotency("key-1", "a" * 64)


class ChargesFixture:
    """The charges of one account with its ledger, and the observed events."""

    def __init__(self, url: str, lease_s: float) -> None:
        self.ledger = AsyncLedger(url, lease_s)
        self.events: list[str] = []
        self.charges = RequestCharges(self.ledger, QuotaCounter(Settings()), self.events.append)

    async def account(self, plan="prepaid", credits=2, quotas=Quotas()):  # noqa: B008 - frozen
        await self.ledger.call(lambda ledger: ledger.create("test", plan, credits, quotas))
        return (await self.ledger.call(lambda ledger: ledger.list_usage()))[-1].account

    async def used(self, account):
        return (await self.ledger.call(lambda ledger: ledger.usage(account.id))).used

    async def expires_at(self):
        def read(ledger):
            with ledger._engine.begin() as connection:
                return connection.exec_driver_sql("SELECT expires_at FROM charges").scalar_one()

        return await self.ledger.call(read)


@pytest.fixture
def with_charges(tmp_path):
    """Run a scenario with an open ledger."""

    def run(scenario, lease_s=70.0):
        async def main():
            fixture = ChargesFixture(f"sqlite:///{tmp_path}/keys.db", lease_s)
            await fixture.ledger.open()
            try:
                return await scenario(fixture)
            finally:
                await fixture.charges.stop()
                await fixture.ledger.close()

        return asyncio.run(main())

    return run


@pytest.mark.parametrize(("sent", "used", "event"), [(True, 1, "charged"), (False, 0, "released")])
def test_only_a_sent_response_is_charged(with_charges, sent, used, event):
    async def scenario(fixture):
        account = await fixture.account()
        charge = await fixture.charges.reserve(account, None)
        assert (fixture.charges.unsettled, await fixture.used(account)) == (1, 1)
        await fixture.charges.charge(charge)
        await fixture.charges.close(charge, sent)
        assert (fixture.charges.unsettled, await fixture.used(account)) == (0, used)
        assert fixture.events == [event]

    with_charges(scenario)


def test_repeated_request_is_free(with_charges):
    async def scenario(fixture):
        account = await fixture.account()
        for _ in range(3):
            charge = await fixture.charges.reserve(account, FIRST)
            await fixture.charges.charge(charge)
            await fixture.charges.close(charge, True)
        assert await fixture.used(account) == 1
        assert fixture.charges.unsettled == 0
        assert fixture.events == ["charged", "repeated", "repeated"]

    with_charges(scenario)


def test_concurrent_quota_of_the_account_applies(with_charges):
    async def scenario(fixture):
        account = await fixture.account(quotas=Quotas(concurrent=1))
        charge = await fixture.charges.reserve(account, None)
        with pytest.raises(RateLimited):
            await fixture.charges.reserve(account, None)
        await fixture.charges.close(charge, False)
        await fixture.charges.close(await fixture.charges.reserve(account, None), False)

    with_charges(scenario)


def test_only_accounts_with_credits_can_request(with_charges):
    async def scenario(fixture):
        can_request = fixture.charges.can_request
        poor, unlimited = await fixture.account(credits=1), await fixture.account("unlimited", 0)
        assert await can_request(poor, None)
        charge = await fixture.charges.reserve(poor, FIRST)
        assert not await can_request(poor, None)
        assert not await can_request(poor, "another key")
        assert await can_request(poor, FIRST.key)
        assert await can_request(unlimited, None)
        assert await can_request(None, None)
        await fixture.charges.close(charge, True)

    with_charges(scenario)


def test_reservation_of_a_slow_request_is_extended(with_charges):
    async def scenario(fixture):
        charge = await fixture.charges.reserve(await fixture.account(), None)
        first = latest = await fixture.expires_at()
        async with asyncio.timeout(10):
            while latest <= first:
                latest = await fixture.expires_at()
        assert latest > first
        await fixture.charges.close(charge, True)

    with_charges(scenario, lease_s=0.03)


def test_expired_reservation_is_not_charged(with_charges):
    async def scenario(fixture):
        charge = await fixture.charges.reserve(await fixture.account(), None)
        await fixture.ledger.call(lambda ledger: ledger.release(charge))
        with pytest.raises(Unavailable, match="expired"):
            await fixture.charges.charge(charge)
        await fixture.charges.close(charge, False)

    with_charges(scenario)


def test_failed_settlement_is_logged_not_raised(with_charges, caplog):
    async def scenario(fixture):
        charge = await fixture.charges.reserve(await fixture.account(), None)
        await fixture.ledger.close()
        await fixture.charges.close(charge, False)
        assert (fixture.charges.unsettled, fixture.events) == (0, [])
        return charge.id

    charge_id = with_charges(scenario)
    (record,) = [each for each in caplog.records if each.getMessage() == "charge was not settled"]
    assert record.fields == {"charge": charge_id, "sent": False}


def test_stop_waits_for_unsettled_charges(with_charges):
    async def scenario(fixture):
        charge = await fixture.charges.reserve(await fixture.account(), None)
        stopping = asyncio.create_task(fixture.charges.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        await fixture.charges.close(charge, True)
        await stopping

    with_charges(scenario)


def test_stop_waits_only_a_limited_time(with_charges, monkeypatch, caplog):
    monkeypatch.setattr(request_charges, "_STOP_TIMEOUT_S", 0.01)

    async def scenario(fixture):
        await fixture.charges.reserve(await fixture.account(), None)
        await fixture.charges.stop()
        (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert (record.getMessage(), record.fields) == ("stopped with unsettled charges", {"count": 1})

    with_charges(scenario)
