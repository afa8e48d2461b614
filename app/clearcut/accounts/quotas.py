"""Quotas of an account for a minute: requests, jobs of a dialect, megapixels."""

from __future__ import annotations

import math

from clearcut.settings import Settings

from .keys import Account
from .rate_limits import RateLimiter, RateLimitStatus


class QuotaCounter:
    """Counts what accounts use; callers without an account are not counted.

    All methods return None where there is no limit.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rates: RateLimiter | None = None

    def open(self) -> None:
        """Open the store of the counts. Raises StartupError: it cannot be used as configured."""
        self._rates = RateLimiter(self._settings.limits_url)

    async def count_request(self, account: Account | None) -> RateLimitStatus | None:
        if account is None:
            return None
        own = account.quotas.requests_per_minute
        return await self._take(account, "requests", self._settings.requests_per_minute if own is None else own)

    async def count_job(self, account: Account | None, policy: str, quota: int) -> RateLimitStatus | None:
        """Count a job under a dialect's own limit."""
        return await self._take(account, policy, quota) if account is not None else None

    def megapixels(self, account: Account | None) -> MegapixelCount:
        """A counter for one image of the account."""
        if account is None or self._rates is None:
            return MegapixelCount(None, "", 0)
        own = account.quotas.megapixels_per_minute
        quota = self._settings.megapixels_per_minute if own is None else own
        return MegapixelCount(self._rates if quota else None, account.id, quota)

    async def _take(self, account: Account, policy: str, quota: int) -> RateLimitStatus | None:
        if not quota or self._rates is None:
            return None
        return await self._rates.take(account.id, policy, quota)


class MegapixelCount:
    """Counts one image against a quota: the larger of its inputs and outputs, each started megapixel in full."""

    def __init__(self, rates: RateLimiter | None, account_id: str, quota: int) -> None:
        self._rates = rates
        self._account_id = account_id
        self._quota = quota
        self._counted = 0

    async def count(self, pixels: int) -> RateLimitStatus | None:
        """Count ``pixels``, without those of earlier calls; nothing more is counted if the quota is exceeded.

        An image larger than the whole quota counts as the quota. None as well if there is nothing more to count.
        """
        more = min(math.ceil(pixels / 1e6), self._quota) - self._counted
        if self._rates is None or more <= 0:
            return None
        standing = await self._rates.take(self._account_id, "megapixels", self._quota, more)
        if not standing.exceeded:
            self._counted += more
        return standing
