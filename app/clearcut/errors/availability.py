"""Errors of a service that cannot process a request now, or not in time."""

from __future__ import annotations

import math
from types import MappingProxyType

from .base import ClearcutError

MAX_RETRY_AFTER_S = 60
"""Largest value of the Retry-After header. Common clients ignore larger ones."""


def retry_after_s(expected_s: float) -> int:
    """Return whole seconds for the Retry-After header: 1 to ``MAX_RETRY_AFTER_S``."""
    return min(MAX_RETRY_AFTER_S, max(1, math.ceil(expected_s)))


class Unavailable(ClearcutError):
    status, code, reason, message = 503, "service_unavailable", "unavailable", "Service temporarily unavailable"
    retry_after = 1


class Overloaded(Unavailable):
    reason = "overloaded"


class OutOfMemory(Unavailable):
    """An allocation failed; only this request fails."""

    reason, retry_after = "out_of_memory", 5
    text = "Not enough memory for this request; try again later"


class Starting(Unavailable):
    reason, text, retry_after = "starting", "The service is starting and its model is not ready", 2


class Draining(Unavailable):
    reason, retry_after = "draining", 5
    text = "The service is shutting down; send the request to another instance"
    headers = MappingProxyType({"Connection": "close"})


class Failed(Unavailable):
    """The inference thread has stopped; the process is about to be replaced."""

    reason, text, retry_after = "failed", "The model has failed and the service is restarting", 10


class StorageFull(Unavailable):
    """The file store, or the account's share of it, is full."""

    reason, text, retry_after = "storage_full", "The storage for inputs and outputs is full", 60


class DeadlineExceeded(ClearcutError):
    status, code, reason, message = 504, "deadline_exceeded", "deadline", "The request exceeded its deadline"

    def __init__(self, stage: str) -> None:
        super().__init__(f"Deadline exceeded at stage '{stage}'")
        self.stage = stage
