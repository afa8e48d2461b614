"""Quotas of an account for one minute: requests, jobs of an API, megapixels."""

from __future__ import annotations

import math

from clearcut.settings import Settings

from .keys import Account
from .rate_limits import RateLimiter, RateLimitStatus


class QuotaCounter:
    """Counts the requests, jobs and megapixels of accounts. Callers without an account are not counted.

    The methods that count return None where no quota is set.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limiter: RateLimiter | None = None

    def open(self) -> None:
        """Open the store of the counts.

        Raises:
            StartupError: the store cannot be used as configured.
        """
        self._limiter = RateLimiter(self._settings.limits_url)

    async def count_request(self, account: Account | None) -> RateLimitStatus | None:
        """Count one request."""
        if account is None:
            return None
        quota = account.quotas.requests_per_minute
        return await self._count(account, "requests", self._settings.requests_per_minute if quota is None else quota)

    async def count_job(self, account: Account | None, policy: str, quota: int) -> RateLimitStatus | None:
        """Count one job against the quota of its API.

        Args:
            policy: name of the quota.
            quota: jobs in a minute; 0 is no limit.
        """
        return await self._count(account, policy, quota) if account is not None else None

    def megapixels(self, account: Account | None) -> MegapixelCount:
        """Return a counter for one image of the account."""
        if account is None or self._limiter is None:
            return MegapixelCount(None, "", 0)
        own = account.quotas.megapixels_per_minute
        quota = self._settings.megapixels_per_minute if own is None else own
        return MegapixelCount(self._limiter if quota else None, account.id, quota)

    def concurrent_limit(self, account: Account) -> int:
        """Return the maximum number of concurrent requests of an account; 0 is no limit."""
        limit = account.quotas.concurrent
        return self._settings.concurrent if limit is None else limit

    async def _count(self, account: Account, policy: str, quota: int) -> RateLimitStatus | None:
        if not quota or self._limiter is None:
            return None
        return await self._limiter.count(account.id, policy, quota)


class MegapixelCount:
    """Counts one image: the larger of its inputs and outputs, rounded up to whole megapixels."""

    def __init__(self, limiter: RateLimiter | None, account_id: str, quota: int) -> None:
        self._limiter = limiter
        self._account_id = account_id
        self._quota = quota
        self._counted = 0

    async def count(self, pixels: int) -> RateLimitStatus | None:
        """Count the pixels of the image that earlier calls have not counted.

        An image larger than the whole quota counts as the quota. If the quota is exceeded, nothing is counted.

        Args:
            pixels: the largest number of pixels known so far.

        Returns:
            The status of the quota, or None if there is no quota or nothing new to count.
        """
        new = min(math.ceil(pixels / 1e6), self._quota) - self._counted
        if self._limiter is None or new <= 0:
            return None
        status = await self._limiter.count(self._account_id, "megapixels", self._quota, new)
        if not status.exceeded:
            self._counted += new
        return status
