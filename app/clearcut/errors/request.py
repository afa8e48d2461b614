"""Options, addresses and bodies that cannot be used: the details name the field and the fix."""

from __future__ import annotations

from collections.abc import Iterable

from .base import InputError


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


class UrlRefused(InvalidOption):
    """An address that this service does not fetch from, or does not call."""

    reason = "address_refused"


class FetchFailed(InputError):
    """An address that may be fetched, and cannot be."""

    reason = "fetch_failed"

    def __init__(self, field: str, why: str, *, temporary: bool = False) -> None:
        super().__init__(f"Cannot fetch the URL in '{field}': {why}", field=field)
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
