"""HTTP itself: routes, methods, heads, bodies that stop arriving, callers that leave."""

from __future__ import annotations

from .base import ClearcutError, InputError


class BadRequest(InputError):
    """Not HTTP at all."""

    code = "bad_request"
    message = "The request is malformed"
    reason = "bad_request"


class HeadTooLarge(ClearcutError):
    """The request line and headers together, or their number, are beyond what is read."""

    status = 431
    code = "headers_too_large"
    message = "The request's headers are too large"
    reason = "head_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"Expected at most {limit} bytes of request line and headers, and at most 100 headers")


class RouteNotFound(ClearcutError):
    status = 404
    code = "not_found"
    message = "No such route"
    reason = "not_found"


class MethodNotAllowed(ClearcutError):
    status = 405
    code = "method_not_allowed"
    message = "Method not allowed on this route"
    reason = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"Allowed: {allowed}")
        self.headers["Allow"] = allowed


class UploadTimeout(ClearcutError):
    """The body stopped arriving."""

    status = 408
    code = "upload_timeout"
    message = "The request body did not arrive in time"
    reason = "upload_timeout"


class HeadTimeout(UploadTimeout):
    """The request line and headers stopped arriving."""

    reason = "head_timeout"


class ClientGone(ClearcutError):
    """The peer closed the connection before the answer was ready. Logged as 499 (nginx's convention)."""

    status = 499
    code = "client_closed_request"
    message = "Client closed the connection"
    reason = "client_gone"
