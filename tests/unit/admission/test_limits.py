import asyncio
from contextlib import ExitStack

import pytest

from clearcut.admission.limits import MAX_RELEASED, RETRY_AFTER_MAX, ActiveRequests, DrainRate, PixelBudget, Slots
from clearcut.errors import Overloaded
from tests.support.clock import FakeClock


def test_slots_refuse_exactly_at_capacity_and_recover():
    slots = Slots(2)
    with slots.enter(), slots.enter():
        with pytest.raises(Overloaded) as caught, slots.enter():
            pass
        assert caught.value.retry_after >= 1
        assert slots.used == 2
    assert slots.used == 0
    with slots.enter():
        assert slots.used == 1


def test_a_slot_is_given_back_when_its_holder_fails():
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.enter():
        raise ZeroDivisionError
    assert slots.used == 0


class Upload:
    def __init__(self, slow: bool) -> None:
        self.slow = slow
        self.before_growth = None


def test_a_slow_upload_lends_its_slot_and_gets_one_back():
    slots = Slots(1)
    slow = Upload(slow=True)
    with slots.enter(slow) as place:
        with slots.enter(Upload(slow=False)) as other:
            assert (slots.used, slots.lent) == (1, 1)
            with pytest.raises(Overloaded), slots.enter():
                pass
            with pytest.raises(Overloaded):  # it has become large, and all slots are in use
                slow.before_growth()
            other.claim()
        assert (slots.used, slots.lent) == (0, 1)
        place.claim()
        assert (slots.used, slots.lent, slow.before_growth) == (1, 0, None)
        with pytest.raises(Overloaded), slots.enter():  # complete: not to be lent again
            pass
    assert slots.used == 0


def test_a_quick_upload_keeps_its_slot():
    slots = Slots(1)
    with slots.enter(Upload(slow=False)), pytest.raises(Overloaded), slots.enter():
        pass


def test_only_so_many_uploads_are_read_without_a_slot():
    slots = Slots(1)
    with ExitStack() as house:
        for _ in range(MAX_RELEASED + 1):
            house.enter_context(slots.enter(Upload(slow=True)))
        assert (slots.used, slots.lent) == (1, MAX_RELEASED)
        with pytest.raises(Overloaded), slots.enter():
            pass
    assert (slots.used, slots.lent) == (0, 0)


def test_leaving_waits_for_uploads_without_a_slot():
    async def scenario():
        slots = Slots(1)
        with slots.enter(Upload(slow=True)):
            with slots.enter():
                pass
            empty = asyncio.create_task(slots.until_empty())
            await asyncio.sleep(0)
            assert not empty.done()
        await empty

    asyncio.run(scenario())


def test_retry_after_follows_the_measured_rate():
    clock = FakeClock(0.0)
    rate = DrainRate(clock)
    for _ in range(50):
        clock.now += 0.5
        rate.completed()
    assert 5 <= rate.retry_after(10) <= 7  # 10 requests at 2 a second, up to 30 % jitter
    assert rate.retry_after(10_000) == RETRY_AFTER_MAX


def test_idle_time_does_not_slow_the_rate():
    clock = FakeClock(0.0)
    rate = DrainRate(clock)
    for _ in range(20):
        clock.now += 0.1
        rate.completed()
    clock.now += 3600
    rate.woken()
    clock.now += 0.1
    rate.completed()
    assert rate.retry_after(10) <= 2


def test_until_empty_waits_for_the_last_slot():
    async def scenario():
        slots = Slots(2)
        order = []
        with slots.enter():
            waiter = asyncio.create_task(slots.until_empty())
            await asyncio.sleep(0)
            order.append(waiter.done())
        await waiter
        return order

    assert asyncio.run(scenario()) == [False]


def _hold(budget, pixels, log, name, release):
    async def run():
        async with budget.hold(pixels):
            log.append(f"+{name}")
            await release.wait()
        log.append(f"-{name}")

    return asyncio.create_task(run())


async def _settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_pixels_are_granted_in_order_of_arrival():
    async def scenario():
        budget, log = PixelBudget(100), []
        gates = [asyncio.Event() for _ in range(3)]
        tasks = [_hold(budget, pixels, log, name, gate) for (pixels, name), gate in
                 zip([(60, "a"), (60, "b"), (10, "c")], gates, strict=True)]  # fmt: skip
        await _settle()
        before = list(log), budget.waiting  # c would fit, but b came first
        gates[0].set()
        await _settle()
        between = list(log)
        for gate in gates:
            gate.set()
        await asyncio.gather(*tasks)
        return before, between, budget.used

    before, between, used = asyncio.run(scenario())
    assert before == (["+a"], 2)
    assert between[1:] == ["-a", "+b", "+c"]
    assert used == 0


def test_a_picture_larger_than_the_budget_is_let_in_alone():
    async def scenario():
        budget = PixelBudget(100)
        async with budget.hold(1000):
            return budget.used

    assert asyncio.run(scenario()) == 1000


def test_a_cancelled_wait_leaves_the_line_and_lets_others_pass():
    async def scenario():
        budget, log = PixelBudget(100), []
        gate = asyncio.Event()
        first = _hold(budget, 50, log, "a", gate)
        await _settle()
        big = _hold(budget, 100, log, "b", gate)
        small = _hold(budget, 10, log, "c", gate)
        await _settle()
        big.cancel()
        await _settle()
        assert log == ["+a", "+c"]
        gate.set()
        await asyncio.gather(first, small)
        return budget.used, budget.waiting

    assert asyncio.run(scenario()) == (0, 0)


def test_a_grant_that_meets_its_cancellation_is_given_back():
    async def scenario():
        budget, log = PixelBudget(100), []
        gate, never = asyncio.Event(), asyncio.Event()
        first = _hold(budget, 100, log, "a", gate)
        await _settle()
        second = _hold(budget, 100, log, "b", never)
        await _settle()
        gate.set()
        first_done = asyncio.create_task(asyncio.wait([first]))
        while budget.waiting:  # noqa: ASYNC110 - stop in the very tick of the grant, before the waiter has run
            await asyncio.sleep(0)
        second.cancel()
        await first_done
        await _settle()
        return budget.used

    assert asyncio.run(scenario()) == 0


def test_until_below_returns_when_few_enough_are_at_work():
    async def scenario():
        at_work, log = ActiveRequests(), []
        with at_work.enter():
            with at_work.enter():
                waiting = asyncio.create_task(at_work.until_below(2))
                waiting.add_done_callback(lambda _: log.append("passed"))
                await _settle()
                log.append("left one")
            await _settle()
            await at_work.until_below(2)
        return log

    assert asyncio.run(scenario()) == ["left one", "passed"]


def test_pixels_of_jobs_wait_for_all_requests():
    async def scenario():
        budget, log, gate = PixelBudget(100), [], asyncio.Event()

        async def job():
            async with budget.hold(30, later=True):
                log.append("+job")

        first = _hold(budget, 90, log, "a", gate)
        await _settle()
        job_task = asyncio.create_task(job())
        await _settle()
        second = _hold(budget, 90, log, "b", gate)
        await _settle()
        gate.set()
        await asyncio.gather(first, second, job_task)
        return [entry for entry in log if entry.startswith("+")], budget.used

    assert asyncio.run(scenario()) == (["+a", "+b", "+job"], 0)


def test_a_job_that_gives_up_waiting_leaves_the_line():
    async def scenario():
        budget, log, gate = PixelBudget(100), [], asyncio.Event()
        first = _hold(budget, 100, log, "a", gate)
        await _settle()

        async def job():
            async with budget.hold(30, later=True):
                raise AssertionError

        task = asyncio.create_task(job())
        await _settle()
        task.cancel()
        await _settle()
        gate.set()
        await first
        return task.cancelled(), budget.used

    assert asyncio.run(scenario()) == (True, 0)
