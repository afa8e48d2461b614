"""A few jobs at once, each stage when requests leave room, and none put off for ever once it is begun."""

from __future__ import annotations

import asyncio

from clearcut.admission.active_requests import ActiveRequests
from clearcut.jobs import throttle
from clearcut.jobs.throttle import JobThrottle


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_jobs_are_at_work_than_the_lane_is_wide():
    async def scenario():
        road, at_work, most = JobThrottle(ActiveRequests(), width=2, room=1), 0, 0

        async def job():
            nonlocal at_work, most
            async with road.place(""):
                at_work += 1
                most = max(most, at_work)
                await settle()
                at_work -= 1

        await asyncio.gather(*(job() for _ in range(6)))
        return most

    assert asyncio.run(scenario()) == 2


def test_a_job_begins_when_requests_leave_room():
    async def scenario():
        requests = ActiveRequests()
        road, log = JobThrottle(requests, width=1, room=1), []

        async def job():
            async with road.place(""):
                log.append("job")

        with requests.enter():
            task = asyncio.create_task(job())
            await settle()
            log.append("answered")
        await task
        return log

    assert asyncio.run(scenario()) == ["answered", "job"]


def test_a_begun_job_goes_on_beside_requests_after_a_while(monkeypatch):
    monkeypatch.setattr(throttle, "MAX_STAGE_WAIT_S", 0.01)

    async def scenario():
        requests = ActiveRequests()
        async with JobThrottle(requests, width=1, room=1).place("") as turn:
            with requests.enter():
                await turn()
                return requests.count

    assert asyncio.run(scenario()) == 1
