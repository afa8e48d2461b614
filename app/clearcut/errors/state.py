"""The service cannot take the request now; most say when to come back."""

from __future__ import annotations

from .base import ClearcutError


class Unavailable(ClearcutError):
    status = 503
    code = "service_unavailable"
    message = "Service temporarily unavailable"
    reason = "unavailable"

    def __init__(self, details: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(details)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    reason = "overloaded"


class OutOfMemory(Unavailable):
    """An allocation failed: this request is let go, and the others go on."""

    reason = "out_of_memory"

    def __init__(self, *, retry_after: int = 5) -> None:
        super().__init__("Not enough memory for this request; try again later", retry_after=retry_after)


class Starting(Unavailable):
    reason = "starting"

    def __init__(self, *, retry_after: int = 2) -> None:
        super().__init__("The service is starting and its model is not ready", retry_after=retry_after)


class Draining(Unavailable):
    reason = "draining"

    def __init__(self, *, retry_after: int = 5) -> None:
        super().__init__("The service is shutting down; send the request to another instance", retry_after=retry_after)
        self.headers["Connection"] = "close"


class Failed(Unavailable):
    """The inference thread is gone; the process is about to be replaced."""

    reason = "failed"

    def __init__(self, *, retry_after: int = 10) -> None:
        super().__init__("The model has failed and the service is restarting", retry_after=retry_after)


class StorageFull(Unavailable):
    """The blob store has reached its quota, or the account its share of it."""

    reason = "storage_full"

    def __init__(self, details: str = "The storage for inputs and outputs is full", *, retry_after: int = 60) -> None:
        super().__init__(details, retry_after=retry_after)


class DeadlineExceeded(ClearcutError):
    status = 504
    code = "deadline_exceeded"
    message = "The request exceeded its deadline"
    reason = "deadline"

    def __init__(self, stage: str) -> None:
        super().__init__(f"Deadline exceeded at stage '{stage}'")
        self.stage = stage
