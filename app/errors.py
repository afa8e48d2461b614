"""One exception tree. Each error knows its HTTP status, its public code and its public text.

    ClearcutError
    ├── InputError 400          the request is at fault; `details` names the field and the fix
    │   ├── InvalidOption  MissingImage  MalformedBody
    │   │   └── RegionOutside  RegionEmpty
    │   ├── MultipleImages  MultipleBackgrounds
    │   ├── UnsupportedFormat  CorruptImage  SuspiciousStructure
    │   ├── TooManyBytes  TooManyPixels
    │   ├── AddressRefused  FetchFailed
    │   └── NoForeground  IdempotencyMismatch
    ├── AuthenticationError 401  PaymentRequired 402  PermissionDenied 403
    ├── RouteNotFound 404   MethodNotAllowed 405   UploadTimeout 408
    ├── LinkRefused 403   OutputNotFound 404   OutputExpired 410   RangeNotSatisfiable 416
    ├── JobNotFound 404   JobsOff 404   ModerationRefused 422
    ├── IdempotencyConflict 409  RateLimited 429
    ├── ClientGone 499          logged, never sent
    ├── Unavailable 503         Overloaded  OutOfMemory  Starting  Draining  Failed  StorageFull
    ├── DeadlineExceeded 504
    └── InternalError 500

`code` and `message` are the Poof contract's; `reason` is finer and is what metrics and logs count. `details` is
public: it never holds image content, a file name, a key or an internal message. Other dialects map the class to
their own body.
"""

from __future__ import annotations

from collections.abc import Iterable


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


class InvalidOption(InputError):
    """A field's value is outside its grammar or range."""

    reason = "invalid_option"

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"Invalid value for '{field}'. Expected: {expected}", field=field)
        self.expected = expected


class RegionOutside(InvalidOption):
    """A region that reaches beyond the picture."""

    reason = "region_outside"


class RegionEmpty(InvalidOption):
    """A region without a single pixel."""

    reason = "region_empty"


class AddressRefused(InvalidOption):
    """An address that this service does not fetch from, or does not call."""

    reason = "address_refused"


class FetchFailed(InputError):
    """An address that may be fetched, and cannot be."""

    reason = "fetch_failed"

    def __init__(self, field: str, why: str, *, temporary: bool = False) -> None:
        super().__init__(f"Cannot fetch the address in '{field}': {why}", field=field)
        self.temporary = temporary
        """Whether it may succeed later."""


class MissingImage(InputError):
    code = "missing_image"
    message = "The request did not contain an image file"
    reason = "missing_image"

    def __init__(self, details: str | None = None) -> None:
        super().__init__(
            details
            or "Send multipart/form-data with the image in field 'image_file', or the image itself as an image/* body",
            field="image_file",
        )


class MalformedBody(InputError):
    """The request body is not what its Content-Type says, or breaks a structural limit."""

    reason = "malformed_body"


class MultipleImages(MalformedBody):
    """The picture, or another file, was sent more than once."""

    reason = "multiple_images"

    def __init__(self, role: str, names: Iterable[str]) -> None:
        super().__init__(f"More than one {role} was sent; send one of {', '.join(repr(name) for name in names)}")
        self.role = role


class MultipleBackgrounds(InputError):
    """A colour and a picture cannot both be the background."""

    reason = "multiple_backgrounds"


class ImageError(InputError):
    """A file part itself is at fault: the picture, unless ``about`` says which other."""

    def __init__(self, details: str) -> None:
        super().__init__(details, field="image_file")

    def about(self, field: str) -> ImageError:
        """The same error, of another file field."""
        self.details = (self.details or "").replace(f"'{self.field}'", f"'{field}'")
        self.field = field
        return self


class UnsupportedFormat(ImageError):
    """The bytes are not JPEG, PNG or WebP."""

    reason = "unsupported_format"

    def __init__(self, detected: str) -> None:
        super().__init__(f"Unsupported image type in 'image_file': detected {detected}. Accepted: JPEG, PNG, WebP")
        self.detected = detected


class BrokenImage(ImageError):
    def __init__(self, details: str) -> None:
        super().__init__(f"Cannot read the image in 'image_file': {details}")


class CorruptImage(BrokenImage):
    """The bytes start as an accepted format and cannot be decoded as one."""

    reason = "corrupt_image"


class SuspiciousStructure(BrokenImage):
    """Structure that no honest encoder writes and that costs a decoder far more than its size."""

    reason = "suspicious_structure"


class TooManyBytes(ImageError):
    code = "image_too_large"
    message = "The uploaded image exceeds the maximum size"
    reason = "too_many_bytes"

    @classmethod
    def of(cls, limit: int) -> TooManyBytes:
        """With the text of the contract, for a limit in bytes."""
        mib, rest = divmod(limit, 1024 * 1024)
        return cls(f"Maximum file size is {limit} bytes" if rest else f"Maximum file size is {mib}MB")


class TooManyPixels(ImageError):
    code = "image_too_large"
    message = "The uploaded image exceeds the maximum size"
    reason = "too_many_pixels"


class NoForeground(InputError):
    """There is no subject, and the dialect has it that this is a refusal."""

    reason = "no_foreground"

    def __init__(self) -> None:
        super().__init__("Could not identify foreground in image", field="image_file")


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


class ModerationRefused(ClearcutError):
    """The operator's moderation model refuses the picture."""

    status = 422
    code = "content_moderation"
    message = "The picture was refused by content moderation"
    reason = "moderation"

    def __init__(self, label: str) -> None:
        super().__init__(f"The picture was refused by content moderation: {label}")


class IdempotencyMismatch(InputError):
    """The key of an earlier request came with another one."""

    reason = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__(
            "Invalid value for 'Idempotency-Key'. Expected: a new key; this one came with another request before",
            field="Idempotency-Key",
        )


class IdempotencyConflict(ClearcutError):
    """The same request is being worked on."""

    status = 409
    code = "idempotency_conflict"
    message = "A request with this Idempotency-Key is being processed"
    reason = "idempotency_conflict"

    def __init__(self, *, retry_after: int = 1) -> None:
        super().__init__("Send it again when the first one has been answered")
        self.retry_after = retry_after


class RateLimited(ClearcutError):
    status = 429
    code = "rate_limit_exceeded"
    message = "Rate limit exceeded"
    reason = "rate_limited"

    def __init__(self, details: str, *, retry_after: int) -> None:
        super().__init__(details)
        self.retry_after = retry_after


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
        super().__init__(f"At most {limit} bytes of request line and headers, and 100 headers")


class RouteNotFound(ClearcutError):
    status = 404
    code = "not_found"
    message = "No such route"
    reason = "not_found"


class LinkRefused(ClearcutError):
    """The address of an output that we did not sign."""

    status = 403
    code = "permission_denied"
    message = "Permission denied"
    reason = "bad_signature"

    def __init__(self) -> None:
        super().__init__("The signature does not belong to this address")


class OutputNotFound(ClearcutError):
    status = 404
    code = "not_found"
    message = "No such output"
    reason = "output_not_found"


class OutputExpired(ClearcutError):
    status = 410
    code = "gone"
    message = "The output has expired"
    reason = "output_expired"


class RangeNotSatisfiable(ClearcutError):
    status = 416
    code = "range_not_satisfiable"
    message = "The range is outside the output"
    reason = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The output has {size} bytes")
        self.headers["Content-Range"] = f"bytes */{size}"


class JobNotFound(ClearcutError):
    status = 404
    code = "not_found"
    message = "No such job"
    reason = "job_not_found"


class JobsOff(ClearcutError):
    """The route is there, and the room behind it is not open."""

    status = 404
    code = "not_enabled"
    message = "Jobs are off on this server"
    reason = "jobs_off"

    def __init__(self) -> None:
        super().__init__("Set CLEARCUT_JOBS=sqlite, or postgresql for several nodes, to serve the asynchronous APIs")


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
        super().__init__("There is not enough memory for this request at the moment", retry_after=retry_after)


class Starting(Unavailable):
    reason = "starting"

    def __init__(self, *, retry_after: int = 2) -> None:
        super().__init__("The service is starting: its model is not ready yet", retry_after=retry_after)


class Draining(Unavailable):
    reason = "draining"

    def __init__(self, *, retry_after: int = 5) -> None:
        super().__init__("The service is shutting down: send the request to another instance", retry_after=retry_after)
        self.headers["Connection"] = "close"


class Failed(Unavailable):
    """The inference thread is gone; the process is about to be replaced."""

    reason = "failed"

    def __init__(self, *, retry_after: int = 10) -> None:
        super().__init__("The model has failed and the service is restarting", retry_after=retry_after)


class StorageFull(Unavailable):
    """The blob store has reached its quota."""

    reason = "storage_full"

    def __init__(self, *, retry_after: int = 60) -> None:
        super().__init__("The store of inputs and outputs is full", retry_after=retry_after)


class DeadlineExceeded(ClearcutError):
    status = 504
    code = "deadline_exceeded"
    message = "The request could not be finished in time"
    reason = "deadline"

    def __init__(self, stage: str) -> None:
        super().__init__(f"Deadline passed at stage '{stage}'")
        self.stage = stage


class InternalError(ClearcutError):
    """A fault of ours. The cause is logged with the request id and is not public."""


class StartupError(Exception):
    """The service refuses to start: a setting, the model file or the execution provider is not as asked for."""
