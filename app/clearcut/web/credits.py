"""Credits of a request: the check before its body is read, and the reservation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from clearcut.accounts.keys import Account
from clearcut.accounts.types import Charge
from clearcut.errors import PaymentRequired
from clearcut.service import Service
from clearcut.web.request.upload import Upload

from .context import RequestContext
from .idempotency import idempotency_key, request_idempotency

JobExists = Callable[[Account, str], Awaitable[bool]]

UNLIMITED = 2**31 - 1
"""Number of credits in responses about accounts without a limit."""


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
