"""How much of a bounded resource one account may hold: the waiting jobs, the stored bytes, the stored responses."""

from __future__ import annotations

SHARE = 3
"""An account may hold this many times what is free. One account alone gets three quarters, two get three sevenths each;
whatever they do, part of the resource is free for the next account."""


def exceeds_share(own: int, free: int) -> bool:
    """Whether an account that holds ``own`` has more than its share while ``free`` is held by nobody."""
    return own > SHARE * free
