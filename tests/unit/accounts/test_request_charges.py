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


class Bank:
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
def with_bank(tmp_path):
    """Run a scenario with an open ledger."""

    def run(scenario, lease_s=70.0):
        async def main():
            bank = Bank(f"sqlite:///{tmp_path}/keys.db", lease_s)
            await bank.ledger.open()
            try:
                return await scenario(bank)
            finally:
                await bank.charges.stop()
                await bank.ledger.close()

        return asyncio.run(main())

    return run


@pytest.mark.parametrize(("sent", "used", "event"), [(True, 1, "charged"), (False, 0, "released")])
def test_credit_is_kept_only_if_the_response_was_sent(with_bank, sent, used, event):
    async def scenario(bank):
        account = await bank.account()
        charge = await bank.charges.reserve(account, None)
        assert (bank.charges.unsettled, await bank.used(account)) == (1, 1)
        await bank.charges.charge(charge)
        await bank.charges.close(charge, sent)
        assert (bank.charges.unsettled, await bank.used(account)) == (0, used)
        assert bank.events == [event]

    with_bank(scenario)


def test_repeated_request_is_free(with_bank):
    async def scenario(bank):
        account = await bank.account()
        for _ in range(3):
            charge = await bank.charges.reserve(account, FIRST)
            await bank.charges.charge(charge)
            await bank.charges.close(charge, True)
        assert await bank.used(account) == 1
        assert bank.charges.unsettled == 0
        assert bank.events == ["charged", "repeated", "repeated"]

    with_bank(scenario)


def test_concurrent_quota_of_the_account_applies(with_bank):
    async def scenario(bank):
        account = await bank.account(quotas=Quotas(concurrent=1))
        charge = await bank.charges.reserve(account, None)
        with pytest.raises(RateLimited):
            await bank.charges.reserve(account, None)
        await bank.charges.close(charge, False)
        await bank.charges.close(await bank.charges.reserve(account, None), False)

    with_bank(scenario)


def test_only_accounts_with_credits_can_request(with_bank):
    async def scenario(bank):
        can_request = bank.charges.can_request
        poor, unlimited = await bank.account(credits=1), await bank.account("unlimited", 0)
        assert await can_request(poor, None)
        charge = await bank.charges.reserve(poor, FIRST)
        assert not await can_request(poor, None)
        assert not await can_request(poor, "another key")
        assert await can_request(poor, FIRST.key)
        assert await can_request(unlimited, None)
        assert await can_request(None, None)
        await bank.charges.close(charge, True)

    with_bank(scenario)


def test_reservation_of_a_slow_request_is_extended(with_bank):
    async def scenario(bank):
        charge = await bank.charges.reserve(await bank.account(), None)
        first = await bank.expires_at()
        async with asyncio.timeout(10):
            while await bank.expires_at() <= first:
                pass
        await bank.charges.close(charge, True)

    with_bank(scenario, lease_s=0.03)


def test_expired_reservation_is_not_charged(with_bank):
    async def scenario(bank):
        charge = await bank.charges.reserve(await bank.account(), None)
        await bank.ledger.call(lambda ledger: ledger.release(charge))
        with pytest.raises(Unavailable, match="expired"):
            await bank.charges.charge(charge)
        await bank.charges.close(charge, False)

    with_bank(scenario)


def test_failed_settlement_is_logged_not_raised(with_bank, caplog):
    async def scenario(bank):
        charge = await bank.charges.reserve(await bank.account(), None)
        await bank.ledger.close()
        await bank.charges.close(charge, False)
        assert (bank.charges.unsettled, bank.events) == (0, [])
        return charge.id

    charge_id = with_bank(scenario)
    (record,) = [each for each in caplog.records if each.getMessage() == "charge was not settled"]
    assert record.fields == {"charge": charge_id, "sent": False}


def test_stop_waits_for_unsettled_charges(with_bank):
    async def scenario(bank):
        charge = await bank.charges.reserve(await bank.account(), None)
        stopping = asyncio.create_task(bank.charges.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        await bank.charges.close(charge, True)
        await stopping

    with_bank(scenario)


def test_stop_waits_only_a_limited_time(with_bank, monkeypatch, caplog):
    monkeypatch.setattr(request_charges, "_STOP_TIMEOUT_S", 0.01)

    async def scenario(bank):
        await bank.charges.reserve(await bank.account(), None)
        await bank.charges.stop()
        (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert (record.getMessage(), record.fields) == ("stopped with unsettled charges", {"count": 1})

    with_bank(scenario)
