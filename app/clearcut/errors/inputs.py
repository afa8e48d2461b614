"""Errors about the body, the fields and the URLs of a request (status 400)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .base import ClearcutError


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
    text = (
        "Invalid value for 'Idempotency-Key'. Expected: a new key. This key was used for another request, or the "
        "image at its URL has changed"
    )
