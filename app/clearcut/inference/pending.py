"""One request's place in the batcher, and how its answer gets from a lane's thread to its event loop."""

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
    """One request's place in the batcher."""

    tensor: F32
    """f32[3,S,S]"""
    enqueued: float
    deadline: float | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Inference]
    """Belongs to ``loop``; other threads only look at whether it is done."""
    timer: asyncio.TimerHandle | None = None
    """Fires at the deadline."""
    later: bool = False
    """Runs only while no other waits."""


Answer = tuple[PendingInference, Inference | ClearcutError]


def deliver_results(answers: Iterable[Answer]) -> None:
    """Hand answers over to their event loops, from any thread: one wake-up a loop, whatever the batch size."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for answer in answers:
        by_loop.setdefault(answer[0].loop, []).append(answer)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, group)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("%d answers for an event loop that is closed", len(group))


def _settle(answers: Sequence[Answer]) -> None:
    for entry, outcome in answers:
        if entry.future.done():
            continue
        if isinstance(outcome, Inference):
            entry.future.set_result(outcome)
        else:
            entry.future.set_exception(outcome)
