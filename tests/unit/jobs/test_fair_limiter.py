"""Slots shared by accounts: many jobs of one account do not delay another account."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from clearcut.jobs.fair_limiter import FairLimiter


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def test_accounts_get_slots_in_turn():
    async def scenario():
        limiter, order = FairLimiter(1, 1), []

        async def use(account):
            async with limiter.slot(account):
                order.append(account)
                await asyncio.sleep(0)

        await asyncio.gather(*(use(account) for account in "aaaaab"))
        return order

    assert asyncio.run(scenario()) == list("abaaaa")


def test_one_account_leaves_slots_for_others():
    async def scenario():
        limiter, release = FairLimiter(4, 2), asyncio.Event()
        held = Counter()

        async def use(account):
            async with limiter.slot(account):
                held[account] += 1
                await release.wait()

        tasks = [asyncio.create_task(use(account)) for account in "aaaab"]
        await settle()
        now = dict(held)
        release.set()
        await asyncio.gather(*tasks)
        return now, held

    assert asyncio.run(scenario()) == ({"a": 2, "b": 1}, {"a": 4, "b": 1})


def test_reserve_leaves_slots_while_others_are_held():
    async def scenario():
        limiter, release = FairLimiter(32, 8, reserve=True), asyncio.Event()
        held = Counter()

        async def use(account):
            async with limiter.slot(account):
                held[account] += 1
                await release.wait()

        tasks = [asyncio.create_task(use(account)) for account in 8 * "a" + 8 * "b" + 8 * "c" + 8 * "d" + "ef"]
        await settle()
        now = dict(held)
        release.set()
        await asyncio.gather(*tasks)
        return now, held.total()

    assert asyncio.run(scenario()) == ({"a": 8, "b": 8, "c": 8, "d": 6, "e": 1, "f": 1}, 34)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["use", "cancel", "cancel late"])), max_size=30))
def test_cancelled_waiters_lose_no_slot(uses):
    async def scenario():
        limiter, maximum, now = FairLimiter(3, 2), Counter(), Counter()

        async def use(account):
            async with limiter.slot(account):
                now[account] += 1
                maximum[account] = max(maximum[account], now[account])
                maximum["all"] = max(maximum["all"], now.total())
                try:
                    await asyncio.sleep(0)
                finally:
                    now[account] -= 1

        tasks = [(asyncio.create_task(use(account)), how) for account, how in uses]
        for _ in range(2):
            for task, how in tasks:
                if how == "cancel":
                    task.cancel()
            await asyncio.sleep(0)
        for task, how in tasks:
            if how == "cancel late":
                task.cancel()
        await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
        assert maximum["all"] <= 3
        assert max((maximum[account] for account in "abc"), default=0) <= 2
        assert (limiter._free, limiter._held.total(), limiter._waiting) == (3, 0, {})

    asyncio.run(scenario())
