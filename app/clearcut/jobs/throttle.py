"""Limits the jobs in progress, and makes each of their stages wait while many requests are active."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clearcut.admission.active_requests import ActiveRequests

from .fair_limiter import FairLimiter

MAX_STAGE_WAIT_S = 0.5
"""Maximum wait before a stage of a job in progress, in seconds. Its decoded image occupies memory meanwhile."""


class JobThrottle:
    """Slots for jobs in progress, shared fairly by accounts. Used from the service's event loop only.

    Args:
        active_requests: the synchronous requests in progress.
        max_jobs: maximum number of concurrent jobs.
        max_requests: number of active requests at which no stage of a job starts.
    """

    def __init__(self, active_requests: ActiveRequests, max_jobs: int, max_requests: int) -> None:
        self._active_requests = active_requests
        self._limiter = FairLimiter(max_jobs, max_jobs)
        self._max_requests = max_requests

    @asynccontextmanager
    async def slot(self, account: str) -> AsyncIterator[JobStageGate]:
        """Wait for a slot, and until fewer than ``max_requests`` requests are active."""
        async with self._limiter.slot(account):
            await self._active_requests.until_below(self._max_requests)
            yield JobStageGate(self._active_requests, self._max_requests)


class JobStageGate:
    """Awaited before each stage of a job: waits while many requests are active, at most ``MAX_STAGE_WAIT_S``."""

    def __init__(self, active_requests: ActiveRequests, max_requests: int) -> None:
        self._active_requests = active_requests
        self._max_requests = max_requests

    async def __call__(self) -> None:
        try:
            async with asyncio.timeout(MAX_STAGE_WAIT_S):
                await self._active_requests.until_below(self._max_requests)
        except TimeoutError:
            return
