import asyncio

from clearcut.admission.active_requests import ActiveRequests


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_until_below_returns_when_few_enough_are_active():
    async def scenario():
        active, log = ActiveRequests(), []
        with active.enter():
            with active.enter():
                waiting = asyncio.create_task(active.until_below(2))
                waiting.add_done_callback(lambda _: log.append("returned"))
                await settle()
                log.append("one request ended")
            await settle()
            await active.until_below(2)
        return log

    assert asyncio.run(scenario()) == ["one request ended", "returned"]
