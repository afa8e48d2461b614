"""Rate limits of a key for one minute, counted in memory or, for several nodes, in Redis or Valkey."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError

from clearcut.errors import StartupError, missing_extra

log = logging.getLogger("clearcut")

WINDOW_S = 60
STORE_TIMEOUT_S = 1.0
"""Timeout of the store, which is used before every request. After a timeout the request continues uncounted."""


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """The state of one quota of a key."""

    policy: str
    """Name of the quota."""
    quota: int
    remaining: int
    reset_s: int
    """Seconds until more of the quota is available."""
    exceeded: bool = False
    """Whether this request exceeds the quota."""


class RateLimiter:
    """A sliding window counter, which weights the previous window by the part of it that is in the last minute.

    A key cannot use two quotas around the change of a minute. Each key needs two numbers in the store.

    Args:
        url: ``redis://``, ``rediss://``, ``valkey://`` or ``valkeys://``; empty for the memory of this process.

    Raises:
        StartupError: the URL has another scheme, or the client of the store is not installed.
    """

    def __init__(self, url: str) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(_storage(url))

    async def count(self, key_id: str, policy: str, quota: int, cost: int = 1) -> RateLimitStatus:
        """Count ``cost`` against the key's quota for this minute. If it exceeds the quota, nothing is counted.

        If the store cannot be reached, the error is logged and the request continues uncounted. The request slots
        still limit the load.

        Args:
            cost: a cost above the whole quota counts as the quota.
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
        raise StartupError("CLEARCUT_LIMITS_URL: expected a URL such as redis://127.0.0.1:6379")
    try:
        return RedisStorage(
            f"async+{kind}://{rest}",
            wrap_exceptions=True,
            implementation="redispy",
            socket_timeout=STORE_TIMEOUT_S,
            socket_connect_timeout=STORE_TIMEOUT_S,
        )
    except ConfigurationError:
        raise StartupError(f"CLEARCUT_LIMITS_URL: {missing_extra('redis')}") from None
