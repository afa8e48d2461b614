"""Errors of images: unreadable, too large or refused."""

from __future__ import annotations

from .base import ClearcutError, InputError


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


class ModerationRefused(ClearcutError):
    """The operator's moderation model refuses the image."""

    status = 422
    code = "content_moderation"
    message = "The image was refused by content moderation"
    reason = "moderation"

    def __init__(self, label: str) -> None:
        super().__init__(f"The image was refused by content moderation: {label}")
