"""Authentication: the API key of a request and its account."""

from __future__ import annotations

import binascii
from collections.abc import Mapping

from starlette.requests import Request

from clearcut.accounts.keys import Account
from clearcut.service import Service

from .context import RequestContext


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
