"""Answers that are kept for who asks again with the same Idempotency-Key. In memory, so many bytes and no more."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Replays:
    """The least recently used answer goes first. Used from the event loop's thread only."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def get(self, charge_id: str) -> Kept | None:
        kept = self._kept.get(charge_id)
        if kept is not None:
            self._kept.move_to_end(charge_id)
        return kept

    def keep(self, charge_id: str, kept: Kept) -> None:
        """Keep an answer; one that is larger than the whole room is not kept."""
        if _weight(kept) > self.capacity or charge_id in self._kept:
            return
        self._kept[charge_id] = kept
        self.used += _weight(kept)
        while self.used > self.capacity:
            _, gone = self._kept.popitem(last=False)
            self.used -= _weight(gone)


def _weight(kept: Kept) -> int:
    """Bytes that an answer takes: its body, its headers, and about as much as the objects around them."""
    return len(kept.body) + sum(len(name) + len(value) for name, value in kept.headers) + 2048
