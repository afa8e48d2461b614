"""Requests in the batcher, and the delivery of their results from a worker's thread to their event loops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clearcut.errors import ClearcutError

from .types import F32, Inference

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class PendingInference:
    """One image that waits for the model, or that the model processes."""

    tensor: F32
    """f32[3,S,S], normalized."""
    enqueued: float
    """Time of submission, on the batcher's clock."""
    deadline: float | None
    """Latest time of the result, on the batcher's clock."""
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Inference]
    """Belongs to ``loop``. Other threads may only read whether it is done."""
    timer: asyncio.TimerHandle | None = None
    """Fires at the deadline."""
    low_priority: bool = False
    """Runs only while no other image waits."""
    follow_up: bool = False
    """Belongs to a request that has had a run; goes before all others of its priority."""


Outcome = tuple[PendingInference, Inference | ClearcutError]


def deliver_results(outcomes: Iterable[Outcome]) -> None:
    """Complete futures from any thread, with one wake-up for each event loop, whatever the batch size is."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].loop, []).append(outcome)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_complete, group)
        except RuntimeError:  # the loop is closed, and nothing waits for the results
            logger.debug("%d results for a closed event loop", len(group))


def _complete(outcomes: Sequence[Outcome]) -> None:
    for entry, outcome in outcomes:
        if entry.future.done():
            continue
        if isinstance(outcome, Inference):
            entry.future.set_result(outcome)
        else:
            entry.future.set_exception(outcome)
