"""The cache of accounts, and the count of their concurrent requests."""

from __future__ import annotations

import asyncio

import pytest

from clearcut.accounts import account_cache
from clearcut.accounts.account_cache import AccountCache
from clearcut.accounts.concurrency import ConcurrentRequests
from clearcut.errors import RateLimited


def looked_up(cache_s: float, *key_ids: str) -> list[str]:
    """Return the keys that the cache reads from the database, in order."""
    read: list[str] = []

    async def find(key_id: str) -> None:
        read.append(key_id)

    async def scenario() -> None:
        cache = AccountCache(find, cache_s)
        for key_id in key_ids:
            assert await cache.get(key_id) is None

    asyncio.run(scenario())
    return read


def test_account_is_read_once_in_its_lifetime() -> None:
    assert looked_up(60, "a", "b", "a", "a") == ["a", "b"]
    assert looked_up(-1, "a", "a") == ["a", "a"]


def test_invented_keys_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_cache, "MAX_CACHED_KEYS", 2)
    assert looked_up(60, "a", "b", "a", "c", "a") == ["a", "b", "c", "a"]


def test_requests_beyond_the_limit_are_refused() -> None:
    requests = ConcurrentRequests()
    with requests.count("a", 1):
        with pytest.raises(RateLimited, match="1 of 1"), requests.count("a", 1):
            pass
        with requests.count("b", 1), requests.count("a", 0):
            pass
    with requests.count("a", 1):
        pass
