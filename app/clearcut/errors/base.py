"""The root of the tree, and what a request is at fault for."""

from __future__ import annotations


class ClearcutError(Exception):
    status = 500
    code = "internal_server_error"
    message = "Internal server error"
    reason = "internal"

    def __init__(self, details: str | None = None, *, field: str | None = None) -> None:
        super().__init__(details or self.message)
        self.details = details
        self.field = field
        self.retry_after: int | None = None
        """Seconds, for the Retry-After header; only set on 409, 429 and 503."""
        self.headers: dict[str, str] = {}
        """Further response headers that belong to the error."""


class InputError(ClearcutError):
    status = 400
    code = "validation_error"
    message = "One or more parameters are invalid"
    reason = "invalid_input"


class InternalError(ClearcutError):
    """A fault of ours. The cause is logged with the request id and is not public."""


class StartupError(Exception):
    """The service refuses to start: a setting, the model file or the execution provider is not as asked for."""
