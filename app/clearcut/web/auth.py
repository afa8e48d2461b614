"""Admission of a request before its body is read: key, rate limits, credits; the reservation of credits."""

from __future__ import annotations

import binascii
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request

from clearcut.accounts.keys import Account
from clearcut.accounts.quotas import MegapixelCount
from clearcut.accounts.rate_limits import WINDOW_S, RateLimitStatus
from clearcut.accounts.types import Charge
from clearcut.errors import PaymentRequired, RateLimited
from clearcut.service import Service
from clearcut.web.request.upload import Upload

from .context import RequestContext
from .idempotency import idempotency_key, request_idempotency

JobExists = Callable[[Account, str], Awaitable[bool]]

UNLIMITED = 2**31 - 1
"""Number of credits in responses about accounts without a limit."""


def presented_key(headers: Mapping[str, str]) -> str | None:
    """Return the API key in ``x-api-key``, as a Bearer token, or as the password of HTTP Basic, in this order."""
    if key := headers.get("x-api-key", "").strip():
        return key
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return binascii.a2b_base64(credentials.strip()).decode().partition(":")[2]
        except ValueError:
            return ""
    return None


async def authenticate(service: Service, request: Request) -> Account | None:
    """Return the account of the request; None for an anonymous caller. Raises as ``AccountService.identify``."""
    account = await service.accounts.identify(presented_key(request.headers))
    if account is not None:
        RequestContext.of(request).log_fields["account"] = account.id
    return account


async def check_rate(service: Service, request: Request, account: Account | None) -> None:
    """Count the request against the limits per minute and of concurrent requests.

    Raises:
        RateLimited: a limit is exceeded.
    """
    context = RequestContext.of(request)
    _apply_limit(context, await service.accounts.quotas.count_request(account))
    context.resources.enter_context(service.accounts.count_concurrent(account))


async def check_credits(
    service: Service, request: Request, account: Account | None, job_exists: JobExists | None = None
) -> None:
    """Require credits, unless the Idempotency-Key repeats a request that is already paid for.

    Args:
        job_exists: returns whether an account has a job with an Idempotency-Key.

    Raises:
        PaymentRequired: the account has no credits left.
        InvalidField: the Idempotency-Key is malformed.
    """
    key = idempotency_key(request.headers) if account is not None else None
    if await service.accounts.request_charges.can_request(account, key):
        return
    if account is None or key is None or job_exists is None or not await job_exists(account, key):
        raise PaymentRequired("The key has no credits left")


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


async def reserve(service: Service, request: Request, account: Account | None, upload: Upload) -> Charge | None:
    """Reserve the request's credits and register the charge; None without an account.

    Raises:
        PaymentRequired, RateLimited, IdempotencyConflict, IdempotencyMismatch
    """
    if account is None:
        return None
    charges = service.accounts.request_charges
    reservation = await charges.reserve(account, await request_idempotency(service, request, upload))
    context = RequestContext.of(request)
    context.before_response.append(lambda: charges.charge(reservation))
    context.on_complete.append(lambda sent: charges.close(reservation, sent))
    return reservation


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
