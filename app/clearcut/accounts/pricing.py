"""Prices in credits. Synchronous requests and jobs both use ``request_price``."""

from __future__ import annotations

from .keys import Account


def request_price(account: Account | None) -> int:
    """Return the price of one request.

    The price is needed before the image is read: credits are checked before the body.

    Args:
        account: the account that pays; None for a caller without an account.

    Returns:
        Credits, 0 or more.
    """
    return 1 if account is not None else 0
