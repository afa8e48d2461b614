"""Who asks, and how often: keys, credits, limits, repeated requests."""

from __future__ import annotations

from .base import ClearcutError, InputError


class AuthenticationError(ClearcutError):
    status = 401
    code = "authentication_error"
    message = "Invalid or missing API key"
    reason = "authentication"

    def __init__(self) -> None:
        super().__init__("Check your 'x-api-key' header")
        self.headers["WWW-Authenticate"] = "Bearer"


class PaymentRequired(ClearcutError):
    status = 402
    code = "payment_required"
    message = "Insufficient credits"
    reason = "payment_required"


class PermissionDenied(ClearcutError):
    status = 403
    code = "permission_denied"
    message = "Permission denied"
    reason = "permission_denied"


class IdempotencyMismatch(InputError):
    """The Idempotency-Key was used for another request, or for another image behind the same URL."""

    reason = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__(
            "Invalid value for 'Idempotency-Key'. Expected: a new key. This key was used for another request, or the "
            "image at its URL has changed",
            field="Idempotency-Key",
        )


class IdempotencyConflict(ClearcutError):
    """The same request is being worked on."""

    status = 409
    code = "idempotency_conflict"
    message = "A request with this Idempotency-Key is being processed"
    reason = "idempotency_conflict"

    def __init__(self, *, retry_after: int = 1) -> None:
        super().__init__("Repeat the request once the first one has its response")
        self.retry_after = retry_after


class RateLimited(ClearcutError):
    status = 429
    code = "rate_limit_exceeded"
    message = "Rate limit exceeded"
    reason = "rate_limited"

    def __init__(self, details: str, *, retry_after: int) -> None:
        super().__init__(details)
        self.retry_after = retry_after
