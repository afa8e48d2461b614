"""A real accounts database, and many concurrent clients of the servers that share it."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence

import httpx
from sqlalchemy import text

from clearcut.accounts.keys import Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from tests.support import samples
from tests.support.live_server import Server

IMAGE = samples.png(samples.photo("coffee")[::8, ::8])
NO_RESPONSE = 0
"""Stands in for a status: the connection ended without a response."""


def kill_after(server: Server, after: int) -> Callable[[str], None]:
    """Return a callback that kills the server after ``after`` responses."""
    left = itertools.count(after - 1, -1)

    def answered(base_url: str) -> None:
        if base_url == server.base_url and next(left) == 0:
            server.signal(signal.SIGKILL)

    return answered


class Accounts:
    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = open_engine(url, 1)
        self.ledger = Ledger(self.engine, 60)

    def make(self, count: int, credits: int, **quotas: int) -> list[str]:
        return [self.ledger.create(f"key {number}", "prepaid", credits, Quotas(**quotas)) for number in range(count)]

    def states(self) -> Counter[str]:
        """Return the number of charges by state. Reservations past their time count as ``expired``."""
        with self.engine.begin() as connection:
            rows = connection.execute(text("select state, expires_at from charges")).all()
        now = time.time()
        return Counter("expired" if row[0] == "reserved" and row[1] < now else row[0] for row in rows)

    def wait_until_settled(self, seconds: float = 60) -> Counter[str]:
        deadline = time.monotonic() + seconds
        while (states := self.states())["reserved"]:
            assert time.monotonic() < deadline, states
            time.sleep(0.05)
        return states

    def wait_until_stable(self) -> Counter[str]:
        """Wait until the states are unchanged for one second and return them. Then no live server has open requests."""
        states, since = self.states(), time.monotonic()
        while time.monotonic() - since < 1:
            time.sleep(0.05)
            if (now := self.states()) != states:
                states, since = now, time.monotonic()
        return states

    def expire_reservations(self) -> None:
        """Expire all reservations at once."""
        with self.engine.begin() as connection:
            connection.execute(text("update charges set expires_at = 0"))

    def used(self, keys: Sequence[str]) -> list[int]:
        usages = [self.ledger.usage(parse_key_id(key)) for key in keys]
        return [usage.used for usage in usages if usage is not None]

    def close(self) -> None:
        self.ledger.close()


async def _send(client: httpx.AsyncClient, base_url: str, key: str) -> int:
    headers = {"x-api-key": key, "content-type": "image/png"}
    try:
        response = await client.post(f"{base_url}/v1/remove", content=IMAGE, headers=headers)
    except httpx.HTTPError:
        return NO_RESPONSE
    return response.status_code


def send_all(requests: Sequence[tuple[str, str]], on_success: Callable[[str], None] | None = None) -> list[int]:
    """Send all ``(base URL, key)`` requests at once, each on its own connection. Return the statuses in that order.

    Args:
        on_success: Called with the base URL after each 200.
    """

    async def run() -> list[int]:
        limits = httpx.Limits(max_connections=len(requests), max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=110, trust_env=False, limits=limits) as client:

            async def send_one(base_url: str, key: str) -> int:
                status = await _send(client, base_url, key)
                if status == 200 and on_success is not None:
                    on_success(base_url)
                return status

            return await asyncio.gather(*(send_one(*each) for each in requests))

    return asyncio.run(run())
