"""The share of a bounded resource that one account may hold: waiting jobs, stored bytes or stored responses."""

from __future__ import annotations

SHARE = 3
"""Maximum ratio of the amount that an account holds to the free amount. One account alone gets three quarters, and two
accounts get three sevenths each. Part of the resource therefore stays free for the next account."""


def exceeds_share(own: int, free: int) -> bool:
    """Return whether an account that holds ``own`` has more than its share while ``free`` is unused."""
    return own > SHARE * free
