"""Errors about access, routes, limits and the state of a resource."""

from __future__ import annotations

from types import MappingProxyType

from .base import ClearcutError


class AuthenticationError(ClearcutError):
    status, code, reason, message = 401, "authentication_error", "authentication", "Invalid or missing API key"
    text, headers = "Check your 'x-api-key' header", MappingProxyType({"WWW-Authenticate": "Bearer"})


class PaymentRequired(ClearcutError):
    status, code, reason, message = 402, "payment_required", "payment_required", "Insufficient credits"


class PermissionDenied(ClearcutError):
    status, code, reason, message = 403, "permission_denied", "permission_denied", "Permission denied"


class InvalidSignature(ClearcutError):
    status, code, reason, message = 403, "permission_denied", "bad_signature", "Permission denied"
    text = "The signature does not match this URL"


class RouteNotFound(ClearcutError):
    status, code, reason, message = 404, "not_found", "not_found", "No such route"


class OutputNotFound(ClearcutError):
    status, code, reason, message = 404, "not_found", "output_not_found", "No such output"


class JobNotFound(ClearcutError):
    status, code, reason, message = 404, "not_found", "job_not_found", "No such job"


class JobsDisabled(ClearcutError):
    status, code, reason, message = 404, "not_enabled", "jobs_off", "Jobs are disabled"
    text = "Set CLEARCUT_JOBS=sqlite, or postgresql for several nodes, to enable the asynchronous APIs"


class MethodNotAllowed(ClearcutError):
    status, code, reason, message = 405, "method_not_allowed", "method_not_allowed", "Method not allowed on this route"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"Allowed: {allowed}", headers={"Allow": allowed})


class UploadTimeout(ClearcutError):
    status, code, reason, message = 408, "upload_timeout", "upload_timeout", "The request body did not arrive in time"
    headers = MappingProxyType({"Connection": "close"})  # the rest of the body may never arrive


class HeadTimeout(UploadTimeout):
    """The request line and headers did not arrive in time."""

    reason = "head_timeout"


class IdempotencyConflict(ClearcutError):
    status, code, reason = 409, "idempotency_conflict", "idempotency_conflict"
    message = "A request with this Idempotency-Key is being processed"
    text, retry_after = "Repeat the request once the first one has its response", 1


class OutputExpired(ClearcutError):
    status, code, reason, message = 410, "gone", "output_expired", "The output has expired"


class RangeNotSatisfiable(ClearcutError):
    status, code, reason = 416, "range_not_satisfiable", "range_not_satisfiable"
    message = "The range is outside the output"

    def __init__(self, size: int) -> None:
        super().__init__(f"The output has {size} bytes", headers={"Content-Range": f"bytes */{size}"})


class RateLimited(ClearcutError):
    status, code, reason, message = 429, "rate_limit_exceeded", "rate_limited", "Rate limit exceeded"


class HeadTooLarge(ClearcutError):
    status, code, reason, message = 431, "headers_too_large", "head_too_large", "The request's headers are too large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"Expected at most {limit} bytes of request line and headers, and at most 100 headers")


class ClientGone(ClearcutError):
    """The client closed the connection before the response was ready; logged as 499, as nginx does."""

    status, code, reason, message = 499, "client_closed_request", "client_gone", "Client closed the connection"
