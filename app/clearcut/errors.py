"""Errors of the service: one tree. Each class has an HTTP status, a public code, a reason and a public message.

Errors use the engine's terms: ``role`` is an input (``image``, ``background``, ``mask``, ``webhook``), ``option`` an
attribute of ``RemoveOptions`` or ``variants``. A dialect maps both to its own field names when it writes the error body
(``clearcut.web.apis.base.Dialect``). ``reason`` is finer than ``code``; metrics and logs count it. Details are public:
they contain no image content, file name, key or internal message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

NO_NAMES: Mapping[str, str] = MappingProxyType({})


class StartupError(Exception):
    """A setting, a model file or an execution provider prevents the service from starting."""


class RemoverClosed(RuntimeError):
    """``clearcut.Remover`` was closed before the call ended."""


class ClearcutError(Exception):
    """Base class; ``text`` is the public details, of the class or of the instance."""

    status, code, reason, message = 500, "internal_server_error", "internal", "Internal server error"
    text: str | None = None
    retry_after: int | None = None
    """Seconds for the Retry-After header; set on 409, 429 and 503."""
    headers: Mapping[str, str] = NO_NAMES
    """Further response headers of the error."""
    names: Mapping[str, str] = NO_NAMES
    """The caller's field names by role or option, for ``details``."""

    def __init__(
        self, text: str | None = None, *, role: str | None = None, option: str | None = None,
        retry_after: int | None = None, headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.text = self.text if text is None else text
        self.role, self.option = role, option
        self.retry_after = retry_after if retry_after is not None else self.retry_after
        self.headers = headers if headers is not None else self.headers

    def describe(self, names: Mapping[str, str]) -> str | None:
        """Return the public details; ``names`` has the caller's field names by role or option."""
        return self.text

    def field_name(self, names: Mapping[str, str]) -> str | None:
        """Return the caller's name of the invalid input or option; None if the error concerns neither."""
        key = self.role or self.option
        return names.get(key, key) if key is not None else None

    @property
    def details(self) -> str | None:
        """Public details, with the caller's names where ``names`` has them and the engine's terms otherwise."""
        return self.describe(self.names)

    def __str__(self) -> str:
        return self.details or self.message


# fmt: off
class InternalError(ClearcutError):
    """An unexpected failure. The cause is logged with the request id and is not public."""
class InputError(ClearcutError):
    status, code, reason, message = 400, "validation_error", "invalid_input", "One or more parameters are invalid"

class InvalidOption(InputError):
    """An option's value is outside its grammar or range."""
    reason = "invalid_option"
    def __init__(self, option: str | None, expected: str, *, role: str | None = None) -> None:
        super().__init__(option=option, role=role)
        self.expected = expected

    def describe(self, names: Mapping[str, str]) -> str:
        return f"Invalid value for '{self.field_name(names)}'. Expected: {self.expected}"

class UnknownModel(InvalidOption):
    reason = "unknown_model"
class RegionOutside(InvalidOption):
    reason = "region_outside"
class RegionEmpty(InvalidOption):
    reason = "region_empty"

class InvalidField(InvalidOption):
    """A field or header of a request has an invalid value, and each of ``others`` too. Only ``web`` raises it."""
    others: tuple[InvalidField, ...] = ()
    def __init__(self, field: str, expected: str, others: Sequence[InvalidField] = ()) -> None:
        super().__init__(None, expected)
        self.field, self.others = field, tuple(others)

    @property
    def each(self) -> tuple[InvalidField, ...]:
        return self, *self.others

    def field_name(self, names: Mapping[str, str]) -> str:
        return self.field

    def describe(self, names: Mapping[str, str]) -> str:
        return ". ".join(super(InvalidField, each).describe(names) for each in self.each)

class InvalidInput(InvalidOption):
    """An input is sent in a form that cannot be read, such as invalid base64, or is missing."""
    def __init__(self, role: str, expected: str) -> None:
        super().__init__(None, expected, role=role)

class UrlRefused(InvalidInput):
    """The fetch policy does not allow the URL."""
    reason = "address_refused"

class FetchFailed(InputError):
    """The URL is allowed and cannot be fetched; ``temporary``: a later attempt may succeed."""
    reason = "fetch_failed"
    def __init__(self, role: str, problem: str, *, temporary: bool = False) -> None:
        super().__init__(role=role)
        self.problem, self.temporary = problem, temporary

    def describe(self, names: Mapping[str, str]) -> str:
        return f"Cannot fetch the URL in '{self.field_name(names)}': {self.problem}"

class MissingImage(InputError):
    code, reason, message = "missing_image", "missing_image", "The request did not contain an image file"

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text, role="image")

    def describe(self, names: Mapping[str, str]) -> str:
        field = f"with the image in field '{self.field_name(names)}'"
        return self.text or f"Send multipart/form-data {field}, or the image itself as an image/* body"

class MalformedBody(InputError):
    """The request body does not match its Content-Type, or exceeds a structural limit."""
    reason = "malformed_body"

class MultipleImages(MalformedBody):
    """One input was sent more than once; ``fields`` are the caller's fields for it."""
    reason = "multiple_images"

    def __init__(self, role: str, fields: Iterable[str]) -> None:
        noun = "background image" if role == "background" else role
        super().__init__(f"More than one {noun} was sent; send one of {', '.join(map(repr, fields))}", role=role)
class MultipleBackgrounds(InputError):
    reason = "multiple_backgrounds"
class BadRequest(InputError):
    code, reason, message = "bad_request", "bad_request", "The request is malformed"

class IdempotencyMismatch(InputError):
    reason = "idempotency_mismatch"
    text = ("Invalid value for 'Idempotency-Key'. Expected: a new key. This key was used for another request, or the "
            "image at its URL has changed")

class ImageError(InputError):
    """An input image is invalid. A caller that decodes another input than the main image sets ``role``."""
    def __init__(self, text: str | None = None, *, role: str = "image") -> None:
        super().__init__(text, role=role)

    def _location(self, names: Mapping[str, str]) -> str:
        """Return " in 'field'"; empty for the main image if it has no field."""
        return "" if self.role == "image" and "image" not in names else f" in '{self.field_name(names)}'"

class UnsupportedFormat(ImageError):
    """The image has another format; ``imaging.probe`` sets ``accepted`` to the names of accepted formats."""
    reason, accepted, advice = "unsupported_format", "", ""

    def __init__(self, detected: str, advice: str = "") -> None:
        super().__init__()
        self.detected, self.advice = detected, advice

    def describe(self, names: Mapping[str, str]) -> str:
        subject = f"Unsupported image type{self._location(names)}"
        accepted = f". Accepted: {self.accepted}" if self.accepted else ""
        return f"{subject}: detected {self.detected}{self.advice and '; ' + self.advice}{accepted}"

class BrokenImage(ImageError):
    def describe(self, names: Mapping[str, str]) -> str:
        return f"Cannot read the image{self._location(names)}: {self.text}"

class CorruptImage(BrokenImage):
    """The bytes begin like an accepted format and cannot be decoded."""
    reason = "corrupt_image"

class SuspiciousStructure(BrokenImage):
    """The file has a structure that usual encoders do not write and that makes decoding far more expensive."""
    reason = "suspicious_structure"

class TooManyBytes(ImageError):
    code, reason, message = "image_too_large", "too_many_bytes", "The uploaded image exceeds the maximum size"

    def __init__(self, limit: int, *, role: str = "image") -> None:
        size = f"{limit} bytes" if limit % (1 << 20) else f"{limit >> 20}MB"
        super().__init__(f"Maximum file size is {size} (server setting CLEARCUT_MAX_BYTES)", role=role)

class TooManyPixels(ImageError):
    code, reason, message = "image_too_large", "too_many_pixels", "The uploaded image exceeds the maximum size"

class NoForeground(ImageError):
    reason, text = "no_foreground", "Could not identify foreground in image"

class ModerationRefused(ClearcutError):
    status, code, reason = 422, "content_moderation", "moderation"
    message = "The image was refused by content moderation"

    def __init__(self, label: str) -> None:
        super().__init__(f"{self.message}: {label}")

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
