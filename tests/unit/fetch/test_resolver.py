"""Limits of the system's resolver; ``getaddrinfo`` is replaced by name servers that do not respond."""

import asyncio
import socket
import threading

import pytest

from clearcut.errors import FetchFailed
from clearcut.fetch.client import FetchClient
from clearcut.fetch.policy import FetchPolicy
from clearcut.fetch.resolver import registered_domain

PUBLIC = "93.184.216.34"


@pytest.fixture
def responding(monkeypatch):
    """Return an event: once set, the dead name servers respond. ``lookups`` has the host names of all lookups."""
    event = threading.Event()
    event.lookups = []

    def look_up(host, port, **more):
        event.lookups.append(host)
        if "dead" in host:
            event.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield event
    event.set()


def run(scenario, responding, timeout_s=30.0):
    async def whole():
        fetcher = FetchClient(FetchPolicy(timeout_s=timeout_s))
        try:
            async with asyncio.timeout(20):
                return await scenario(fetcher)
        finally:
            responding.set()

    return asyncio.run(whole())


def test_dead_name_server_leaves_lookups_of_other_domains_free(responding):
    async def scenario(fetcher):
        calls = [
            asyncio.create_task(fetcher.check(f"https://x{number}.dead.example/", role="image")) for number in range(64)
        ]
        await asyncio.sleep(0.2)
        await fetcher.check("https://www.good.example/", role="image")
        occupied = len([host for host in responding.lookups if "dead" in host])
        for call in calls:
            call.cancel()
        return occupied

    assert run(scenario, responding) <= 4


def test_lookup_that_takes_too_long_is_a_temporary_failure(responding):
    async def scenario(fetcher):
        fetcher._resolve._timeout_s = 0.1
        with pytest.raises(FetchFailed) as caught:
            await fetcher.check("https://dead.example/", role="image")
        return caught.value

    error = run(scenario, responding)
    assert error.temporary
    assert "cannot be resolved" in error.details


def test_finished_lookups_leave_no_state(responding):
    async def scenario(fetcher):
        responding.set()
        await asyncio.gather(*(fetcher.check(f"https://x{n}.good.example/", role="image") for n in range(40)))
        await asyncio.sleep(0.05)
        return fetcher._resolve._calls, fetcher._resolve._domains

    assert run(scenario, responding) == ({}, {})


def test_cancelled_lookups_leave_no_state(responding):
    async def scenario(fetcher):
        calls = [asyncio.create_task(fetcher.check(f"https://x{n}.dead.example/", role="image")) for n in range(10)]
        await asyncio.sleep(0.1)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        waiting = sum(fetcher._resolve._calls.values())
        responding.set()
        async with asyncio.timeout(10):
            while fetcher._resolve._calls:  # noqa: ASYNC110 - a lookup has no event
                await asyncio.sleep(0.01)
        return waiting, dict(fetcher._resolve._domains)

    assert run(scenario, responding) == (4, {})


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.dead.co.uk", "dead.co.uk"),
        ("good.co.uk.", "good.co.uk"),
        ("a.b.example.com.au", "example.com.au"),
        ("a.b.example.com", "example.com"),
        ("a.x9.io", "x9.io"),
        ("localhost", "localhost"),
    ],
)
def test_domains_of_different_owners_have_separate_limits(host, domain):
    assert registered_domain(host) == domain
