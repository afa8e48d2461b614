"""Rate limits of a request: the checks, and the response headers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from starlette.requests import Request

from clearcut.accounts.keys import Account
from clearcut.accounts.quotas import MegapixelCount
from clearcut.accounts.rate_limits import WINDOW_S, RateLimitStatus
from clearcut.errors import RateLimited
from clearcut.service import Service

from .context import RequestContext


async def check_rate(service: Service, request: Request, account: Account | None) -> None:
    """Count the request against the limits per minute and of concurrent requests.

    Raises:
        RateLimited: a limit is exceeded.
    """
    context = RequestContext.of(request)
    _apply_limit(context, await service.accounts.quotas.count_request(account))
    context.resources.enter_context(service.accounts.count_concurrent(account))


async def check_job_rate(service: Service, request: Request, account: Account | None, policy: str, quota: int) -> None:
    """Count a job against the dialect's own limit of jobs per minute.

    Raises:
        RateLimited: the limit is exceeded.
    """
    _apply_limit(RequestContext.of(request), await service.accounts.quotas.count_job(account, policy, quota))


async def count_pixels(context: RequestContext, count: MegapixelCount, pixels: int) -> None:
    """Count pixels of a request against the limit of megapixels per minute.

    Raises:
        RateLimited: the limit is exceeded.
    """
    _apply_limit(context, await count.count(pixels))


def rate_limit_headers(statuses: Sequence[RateLimitStatus], older: bool) -> dict[str, str]:
    """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11).

    Args:
        older: whether to add X-RateLimit-*.
    """
    if not statuses:
        return {}
    unit = {"megapixels": ';qu="megapixels"'}
    headers = {
        "RateLimit-Policy": ", ".join(
            f'"{status.policy}";q={status.quota}{unit.get(status.policy, "")};w={WINDOW_S}' for status in statuses
        ),
        "RateLimit": ", ".join(f'"{status.policy}";r={status.remaining};t={status.reset_s}' for status in statuses),
    }
    if older:
        last = statuses[-1]
        headers |= {
            "X-RateLimit-Limit": str(last.quota),
            "X-RateLimit-Remaining": str(last.remaining),
            "X-RateLimit-Reset": str(math.ceil(time.time()) + last.reset_s),
        }
    return headers


def _apply_limit(context: RequestContext, status: RateLimitStatus | None) -> None:
    """Store the state of a limit for the response headers; raise RateLimited if it is exceeded."""
    if status is None:
        return
    context.rate_limits = [each for each in context.rate_limits if each.policy != status.policy] + [status]
    if status.exceeded:
        raise RateLimited(f"At most {status.quota} {status.policy} a minute for this key", retry_after=status.reset_s)
