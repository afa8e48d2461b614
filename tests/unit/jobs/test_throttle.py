"""The limit on concurrent jobs, and their waits while requests are active."""

from __future__ import annotations

import asyncio

from clearcut.admission.active_requests import ActiveRequests
from clearcut.jobs import throttle
from clearcut.jobs.throttle import JobThrottle


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_number_of_concurrent_jobs_is_limited():
    async def scenario():
        throttle_, running, maximum = JobThrottle(ActiveRequests(), max_jobs=2, max_requests=1), 0, 0

        async def job():
            nonlocal running, maximum
            async with throttle_.slot(""):
                running += 1
                maximum = max(maximum, running)
                await settle()
                running -= 1

        await asyncio.gather(*(job() for _ in range(6)))
        return maximum

    assert asyncio.run(scenario()) == 2


def test_job_waits_for_active_requests():
    async def scenario():
        requests = ActiveRequests()
        throttle_, log = JobThrottle(requests, max_jobs=1, max_requests=1), []

        async def job():
            async with throttle_.slot(""):
                log.append("job")

        with requests.enter():
            task = asyncio.create_task(job())
            await settle()
            log.append("request ended")
        await task
        return log

    assert asyncio.run(scenario()) == ["request ended", "job"]


def test_started_job_waits_only_a_limited_time(monkeypatch):
    monkeypatch.setattr(throttle, "MAX_STAGE_WAIT_S", 0.01)

    async def scenario():
        requests = ActiveRequests()
        async with JobThrottle(requests, max_jobs=1, max_requests=1).slot("") as stage_gate:
            with requests.enter():
                await stage_gate()
                return requests.count

    assert asyncio.run(scenario()) == 1
