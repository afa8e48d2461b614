"""Pixels are granted in order of arrival, requests before jobs, and returned in every case."""

import asyncio

from clearcut.admission.pixel_budget import PixelBudget


def hold(budget, pixels, log, name, release):
    async def run():
        async with budget.hold(pixels):
            log.append(f"+{name}")
            await release.wait()
        log.append(f"-{name}")

    return asyncio.create_task(run())


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_pixels_are_granted_in_order_of_arrival():
    async def scenario():
        budget, log = PixelBudget(100), []
        gates = [asyncio.Event() for _ in range(3)]
        tasks = [hold(budget, pixels, log, name, gate) for (pixels, name), gate in
                 zip([(60, "a"), (60, "b"), (10, "c")], gates, strict=True)]  # fmt: skip
        await settle()
        before = list(log), budget.waiting  # c would fit, but b came first
        gates[0].set()
        await settle()
        between = list(log)
        for gate in gates:
            gate.set()
        await asyncio.gather(*tasks)
        return before, between, budget.used

    before, between, used = asyncio.run(scenario())
    assert before == (["+a"], 2)
    assert between[1:] == ["-a", "+b", "+c"]
    assert used == 0


def test_image_larger_than_the_budget_is_granted_alone():
    async def scenario():
        budget = PixelBudget(100)
        async with budget.hold(1000):
            return budget.used

    assert asyncio.run(scenario()) == 1000


def test_cancelled_wait_does_not_block_later_requests():
    async def scenario():
        budget, log = PixelBudget(100), []
        gate = asyncio.Event()
        first = hold(budget, 50, log, "a", gate)
        await settle()
        large = hold(budget, 100, log, "b", gate)
        small = hold(budget, 10, log, "c", gate)
        await settle()
        large.cancel()
        await settle()
        assert log == ["+a", "+c"]
        gate.set()
        await asyncio.gather(first, small)
        return budget.used, budget.waiting

    assert asyncio.run(scenario()) == (0, 0)


def test_grant_during_cancellation_returns_the_pixels():
    async def scenario():
        budget, log = PixelBudget(100), []
        gate, never = asyncio.Event(), asyncio.Event()
        first = hold(budget, 100, log, "a", gate)
        await settle()
        second = hold(budget, 100, log, "b", never)
        await settle()
        gate.set()
        first_done = asyncio.create_task(asyncio.wait([first]))
        while budget.waiting:  # noqa: ASYNC110 - stop in the tick of the grant, before the waiter has run
            await asyncio.sleep(0)
        second.cancel()
        await first_done
        await settle()
        return budget.used

    assert asyncio.run(scenario()) == 0


def test_low_priority_waits_for_all_requests():
    async def scenario():
        budget, log, gate = PixelBudget(100), [], asyncio.Event()

        async def job():
            async with budget.hold(30, low_priority=True):
                log.append("+job")

        first = hold(budget, 90, log, "a", gate)
        await settle()
        job_task = asyncio.create_task(job())
        await settle()
        second = hold(budget, 90, log, "b", gate)
        await settle()
        gate.set()
        await asyncio.gather(first, second, job_task)
        return [entry for entry in log if entry.startswith("+")], budget.used

    assert asyncio.run(scenario()) == (["+a", "+b", "+job"], 0)


def test_cancelled_low_priority_wait_leaves_the_queue():
    async def scenario():
        budget, log, gate = PixelBudget(100), [], asyncio.Event()
        first = hold(budget, 100, log, "a", gate)
        await settle()

        async def job():
            async with budget.hold(30, low_priority=True):
                raise AssertionError

        task = asyncio.create_task(job())
        await settle()
        task.cancel()
        await settle()
        gate.set()
        await first
        return task.cancelled(), budget.used

    assert asyncio.run(scenario()) == (True, 0)
