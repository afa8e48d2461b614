"""The door as HTTP sees it: where a key may stand, what a request is charged to, what is said of its limits."""

from __future__ import annotations

import binascii
import hashlib
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request

from clearcut.accounts.keys import Account
from clearcut.accounts.quotas import MegapixelCount
from clearcut.accounts.rate_limits import WINDOW_S, RateLimitStatus
from clearcut.accounts.types import Charge, Idempotency
from clearcut.errors import InvalidOption, PaymentRequired, RateLimited
from clearcut.service import Service
from clearcut.web.request.upload import Upload

from .context import RequestContext

JobExists = Callable[[Account, str], Awaitable[bool]]

UNLIMITED = 2**31 - 1
"""Credits to tell a client that wants a number."""

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key in ``x-api-key``, as a Bearer token, or as the password of HTTP Basic; the first that is there."""
    if key := headers.get("x-api-key", "").strip():
        return key
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return binascii.a2b_base64(rest.strip()).decode().partition(":")[2]
        except ValueError:
            return ""
    return None


async def identify(service: Service, request: Request) -> Account | None:
    """Whose request it is; None for an anonymous caller where that is allowed. Raises as ``Access.identify``."""
    account = await service.accounts.identify(presented_key(request.headers))
    if account is not None:
        RequestContext.of(request).facts["account"] = account.id
    return account


async def admit(service: Service, request: Request, has_job: JobExists | None = None) -> Account | None:
    """Admit a request before its body is read: key, requests per minute, requests at once, credits.

    Args:
        has_job: whether an Idempotency-Key identifies a job of the account, which costs nothing to return.

    Raises:
        AuthenticationError, PermissionDenied, PaymentRequired, RateLimited
        InvalidOption: the Idempotency-Key is malformed.
    """
    exchange = RequestContext.of(request)
    account = await identify(service, request)
    _note(exchange, await service.accounts.quotas.count_request(account))
    exchange.held.enter_context(service.accounts.entered(account))
    key = idempotency_key(request.headers) if account is not None else None
    if not await service.accounts.can_request(account, key):
        known = account is not None and key is not None and has_job is not None and await has_job(account, key)
        if not known:
            raise PaymentRequired("The key has no credits left")
    return account


async def count_job(service: Service, request: Request, account: Account | None, policy: str, quota: int) -> None:
    """Count a job against a dialect's own quota for the minute.

    Raises:
        RateLimited: it is one too many.
    """
    _note(RequestContext.of(request), await service.accounts.quotas.count_job(account, policy, quota))


async def count_pixels(exchange: RequestContext, count: MegapixelCount, pixels: int) -> None:
    """Count the larger of a request's inputs and outputs, as far as known, against the minute's quota of megapixels.

    Raises:
        RateLimited: the quota is exceeded.
    """
    _note(exchange, await count.count(pixels))


async def reserve(service: Service, request: Request, account: Account | None, upload: Upload) -> Charge | None:
    """Reserve the request's credits, to be charged before its response starts; None without an account."""
    if account is None:
        return None
    access = service.accounts
    charge = await access.open(account, await _idempotency(service, request, upload))
    exchange = RequestContext.of(request)
    exchange.before_response.append(lambda: access.charge(charge))
    exchange.closers.append(lambda sent: access.close(charge, sent))
    return charge


async def bind_fetched(service: Service, charge: Charge | None, upload: Upload) -> None:
    """Make the fetched files part of what the request's Idempotency-Key identifies; a repeat must fetch the same ones.

    Raises:
        IdempotencyMismatch: the files behind the URLs have changed.
    """
    if charge is not None and charge.idempotent:
        fetched = {role: upload.files[role] for role in upload.addresses}
        await service.accounts.bind_content(charge, await service.on_pool(lambda: _digest(b"", fetched)))


def _digest(start: bytes, files: Mapping[str, bytearray]) -> str:
    """Hexadecimal SHA-256 of ``start`` and of the files with their roles."""
    whole = hashlib.sha256(start)
    for role in sorted(files):
        whole.update(role.encode() + hashlib.sha256(files[role]).digest())
    return whole.hexdigest()


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The request's Idempotency-Key, bare or as a quoted string.

    Raises:
        InvalidOption: it is malformed.
    """
    given = headers.get("idempotency-key", "").strip()
    if not given:
        return None
    if len(given) > 1 and given[0] == given[-1] == '"':
        given = given[1:-1]
    if not _IDEMPOTENCY_KEY.fullmatch(given):
        raise InvalidOption("Idempotency-Key", "1 to 255 printable ASCII characters")
    return given


async def _idempotency(service: Service, request: Request, upload: Upload) -> Idempotency | None:
    """The request's Idempotency-Key, bare or as a quoted string, with what it stands for."""
    given = idempotency_key(request.headers)
    if given is None:
        return None
    words = [request.scope["route"].path, request.headers.get("accept", "")]

    start = repr((words, sorted(upload.fields.items()))).encode()
    if upload.addresses:
        start += repr(sorted(upload.addresses.items())).encode()
    return Idempotency(given, await service.on_pool(lambda: _digest(start, upload.files)))


def _note(exchange: RequestContext, standing: RateLimitStatus | None) -> None:
    if standing is None:
        return
    exchange.standings = [each for each in exchange.standings if each.policy != standing.policy] + [standing]
    if standing.exceeded:
        raise RateLimited(
            f"At most {standing.quota} {standing.policy} a minute for this key", retry_after=standing.reset_s
        )


def rate_headers(standings: Sequence[RateLimitStatus], older: bool) -> dict[str, str]:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11); ``older``: X-RateLimit-* as well."""
    if not standings:
        return {}
    unit = {"megapixels": ';qu="megapixels"'}
    headers = {
        "RateLimit-Policy": ", ".join(
            f'"{each.policy}";q={each.quota}{unit.get(each.policy, "")};w={WINDOW_S}' for each in standings
        ),
        "RateLimit": ", ".join(f'"{each.policy}";r={each.remaining};t={each.reset_s}' for each in standings),
    }
    if older:
        last = standings[-1]
        headers |= {
            "X-RateLimit-Limit": str(last.quota),
            "X-RateLimit-Remaining": str(last.remaining),
            "X-RateLimit-Reset": str(math.ceil(time.time()) + last.reset_s),
        }
    return headers
