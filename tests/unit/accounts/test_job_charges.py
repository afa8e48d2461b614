"""The credits of jobs, in a real ledger file."""

from __future__ import annotations

import asyncio

import pytest

from clearcut.accounts.async_ledger import AsyncLedger
from clearcut.accounts.job_charges import JobCharges
from clearcut.accounts.keys import Quotas
from clearcut.accounts.types import Charge
from clearcut.errors import PaymentRequired, Unavailable


@pytest.fixture
def with_charges(tmp_path):
    """Run a scenario with the charges of jobs, the ledger, a charge of an account with one credit, and the events."""

    def run(scenario):
        async def main():
            ledger, events = AsyncLedger(f"sqlite:///{tmp_path}/keys.db", 70), []
            await ledger.open()
            await ledger.call(lambda opened: opened.create("test", "prepaid", 1, Quotas()))
            (usage,) = await ledger.call(lambda opened: opened.list_usage())
            try:
                return await scenario(
                    JobCharges(ledger, events.append), ledger, Charge("j1", usage.account.id, 1), events
                )
            finally:
                await ledger.close()

        return asyncio.run(main())

    return run


async def used(ledger, charge):
    return (await ledger.call(lambda opened: opened.usage(charge.key_id))).used


def test_successful_job_is_charged_once(with_charges):
    async def scenario(charges, ledger, charge, events):
        await charges.reserve(charge, 60)
        assert await used(ledger, charge) == 1
        with pytest.raises(PaymentRequired):
            await charges.reserve(Charge("j2", charge.key_id, 1), 60)
        for _ in range(3):
            await charges.settle(charge, True)
        assert (await used(ledger, charge), events) == (1, ["charged"])

    with_charges(scenario)


def test_failed_job_gets_its_credit_back(with_charges):
    async def scenario(charges, ledger, charge, events):
        await charges.reserve(charge, 60)
        await charges.settle(charge, False)
        assert (await used(ledger, charge), events) == (0, ["released"])
        await charges.settle(charge, True)
        assert (await used(ledger, charge), events) == (0, ["released"]), "a settled job is not charged"

    with_charges(scenario)


def test_extended_reservation_does_not_expire(with_charges):
    async def scenario(charges, ledger, charge, events):
        await charges.reserve(charge, -1)
        assert await used(ledger, charge) == 0, "the reservation has expired"
        await charges.extend(charge, 60)
        assert await used(ledger, charge) == 1

    with_charges(scenario)


def test_unreachable_database_settles_nothing(with_charges):
    async def scenario(charges, ledger, charge, events):
        await charges.reserve(charge, 60)
        await ledger.close()
        for succeeded in (True, False):
            with pytest.raises(Unavailable):
                await charges.settle(charge, succeeded)
        assert events == []

    with_charges(scenario)
