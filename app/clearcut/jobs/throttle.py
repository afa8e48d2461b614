"""The jobs' way through the house: a few at a time, and each stage only when requests leave room for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clearcut.admission.active_requests import ActiveRequests

from .fair_limiter import FairLimiter

MAX_STAGE_WAIT_S = 0.5
"""A picture that is decoded holds memory: once begun, no stage is put off for longer."""


class JobThrottle:
    """Used from the service's event loop only.

    Args:
        width: jobs that are at work at once; accounts get their turns one after the other.
        room: requests at work at which no stage of a job begins.
    """

    def __init__(self, at_work: ActiveRequests, width: int, room: int) -> None:
        self._at_work = at_work
        self._places = FairLimiter(width, width)
        self._room = room

    @asynccontextmanager
    async def place(self, account: str) -> AsyncIterator[JobTurns]:
        """Wait for a place among those at work, and for requests to leave room for one more."""
        async with self._places.place(account):
            await self._at_work.until_below(self._room)
            yield JobTurns(self._at_work, self._room)


class JobTurns:
    """One job's turns. The first waits for as long as it takes, as nothing is in memory yet."""

    def __init__(self, at_work: ActiveRequests, room: int) -> None:
        self._at_work = at_work
        self._room = room

    async def __call__(self) -> None:
        try:
            async with asyncio.timeout(MAX_STAGE_WAIT_S):
                await self._at_work.until_below(self._room)
        except TimeoutError:
            return
