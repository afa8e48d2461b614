"""How fast a key may go: requests and megapixels a minute, counted in memory or, for several nodes, in Redis/Valkey."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError

from clearcut.errors import StartupError

log = logging.getLogger("clearcut")

WINDOW_S = 60
_PATIENCE_S = 1.0  # with the store, which is asked before every request; without it the request goes on


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """Where a key stands with one of its quotas."""

    policy: str
    quota: int
    remaining: int
    reset_s: int
    """Seconds until there is more."""
    exceeded: bool = False
    """This request was one too many."""


class RateLimiter:
    """A sliding window counter (the last minute's share of the window before is counted in): no burst of two quotas
    at the turn of a minute, and two numbers a key to keep."""

    def __init__(self, url: str) -> None:
        """
        Args:
            url: ``redis://``, ``rediss://``, ``valkey://`` or ``valkeys://``; empty: this process's memory.

        Raises:
            StartupError: the address is none of these, or the client for it is not installed.
        """
        self._limiter = SlidingWindowCounterRateLimiter(_storage(url))

    async def take(self, key_id: str, policy: str, quota: int, cost: int = 1) -> RateLimitStatus:
        """Count ``cost`` against the key's quota for this minute, or nothing at all if it does not fit any more.

        A cost above the whole quota counts as the quota. A store that cannot be reached is logged and counts nothing:
        the slots still bound the work of all.
        """
        item = RateLimitItemPerMinute(quota)
        try:
            fits = await self._limiter.hit(item, policy, key_id, cost=min(cost, quota))
            stats = await self._limiter.get_window_stats(item, policy, key_id)
        except StorageError as exc:
            log.warning("rate limits cannot be counted", extra={"fields": {"error": repr(exc.storage_error)}})
            return RateLimitStatus(policy, quota, quota, WINDOW_S)
        reset_s = max(1, min(WINDOW_S, math.ceil(stats.reset_time - time.time())))
        return RateLimitStatus(policy, quota, max(0, stats.remaining), reset_s, exceeded=not fits)


def _storage(url: str) -> Storage:
    if not url:
        return MemoryStorage()
    scheme, _, rest = url.partition("://")
    kind = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss"}.get(scheme)
    if kind is None:
        raise StartupError("CLEARCUT_LIMITS_URL: not an address such as redis://127.0.0.1:6379")
    try:
        return RedisStorage(
            f"async+{kind}://{rest}",
            wrap_exceptions=True,
            implementation="redispy",
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
        )
    except ConfigurationError:
        raise StartupError("CLEARCUT_LIMITS_URL: install the 'redis' extra for Redis and Valkey") from None
