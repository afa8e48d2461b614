"""Requests that hold pixels of the budget and need more of them."""

import asyncio

import pytest

from clearcut.admission.pixel_budget import PixelBudget
from clearcut.errors import Overloaded


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


class Requests:
    """Tasks that hold pixels, grow on an event, and log each step."""

    def __init__(self, capacity):
        self.budget = PixelBudget(capacity)
        self.log = []

    def start(self, name, pixels, more=0):
        grow, finish = asyncio.Event(), asyncio.Event()

        async def run():
            async with self.budget.hold(pixels) as hold:
                self.log.append(f"{name} holds")
                await grow.wait()
                if more:
                    await hold.grow(more)
                    self.log.append(f"{name} grew")
                await finish.wait()

        return asyncio.create_task(run()), grow, finish


def test_growth_waits_and_precedes_new_requests():
    async def scenario():
        requests = Requests(100)
        first, grow, _ = requests.start("a", 40, more=50)
        second, second_grow, second_finish = requests.start("b", 40)
        await settle()
        grow.set()
        third, third_grow, third_finish = requests.start("c", 10)
        await settle()
        waiting = list(requests.log)
        for event in (second_grow, second_finish):
            event.set()
        await second
        await settle()
        used = requests.budget.used
        for event in (third_grow, third_finish):
            event.set()
        await third
        first.cancel()
        await settle()
        return waiting, requests.log, used, requests.budget.used

    waiting, log, used, left = asyncio.run(scenario())
    assert waiting == ["a holds", "b holds"]
    assert log[2:] == ["a grew", "c holds"]
    assert used == 100
    assert left == 0


def test_growth_beyond_the_budget_is_granted_when_alone():
    async def scenario():
        budget = PixelBudget(100)
        async with budget.hold(60) as hold:
            await hold.grow(500)
            return budget.used

    assert asyncio.run(scenario()) == 560


def test_requests_that_all_wait_to_grow_do_not_block_each_other():
    async def scenario():
        requests = Requests(100)
        first, grow, finish = requests.start("a", 50, more=50)
        second, second_grow, _ = requests.start("b", 50, more=50)
        await settle()
        grow.set()
        await settle()
        second_grow.set()
        with pytest.raises(Overloaded) as caught:
            await second
        finish.set()
        await first
        return requests.log, caught.value.retry_after, requests.budget.used

    log, retry_after, used = asyncio.run(scenario())
    assert log == ["a holds", "b holds", "a grew"]
    assert retry_after >= 1
    assert used == 0


def test_cancelled_growth_leaves_the_queue():
    async def scenario():
        requests = Requests(100)
        first, grow, _ = requests.start("a", 50, more=60)
        second, second_grow, second_finish = requests.start("b", 40)
        await settle()
        grow.set()
        await settle()
        third, third_grow, third_finish = requests.start("c", 50)
        await settle()
        first.cancel()
        await settle()
        log = list(requests.log)
        for event in (second_grow, second_finish, third_grow, third_finish):
            event.set()
        await asyncio.gather(second, third)
        return log, requests.budget.used

    assert asyncio.run(scenario()) == (["a holds", "b holds", "c holds"], 0)


def test_release_in_the_tick_of_a_cancellation_leaks_no_pixels():
    async def scenario():
        requests = Requests(100)
        first, grow, finish = requests.start("a", 100)
        second, _, _ = requests.start("b", 100)
        await settle()
        grow.set()
        finish.set()
        second.cancel()  # its future is cancelled before the release of the first one reaches it
        await asyncio.wait([first, second])
        return first.exception(), requests.budget.used

    assert asyncio.run(scenario()) == (None, 0)
