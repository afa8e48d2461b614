"""Errors about the content of an input image."""

from __future__ import annotations

from collections.abc import Mapping

from .base import ClearcutError
from .inputs import InputError


class ImageError(InputError):
    """An input image is invalid. A caller that decodes another input than the main image sets ``role``."""

    def __init__(self, text: str | None = None, *, role: str = "image") -> None:
        super().__init__(text, role=role)

    def _location(self, names: Mapping[str, str]) -> str:
        """Return " in 'field'"; empty for the main image if it has no field."""
        return "" if self.role == "image" and "image" not in names else f" in '{self.field_name(names)}'"


def _with_field(error: ImageError, subject: str, names: Mapping[str, str], word: str) -> str | None:
    """Return the text of an error; for another input than the main image, its field follows ``subject``."""
    if error.role == "image" or error.text is None:
        return error.text
    return error.text.replace(subject, f"{subject} {word} '{error.field_name(names)}'", 1)


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
        size = f"{limit} bytes" if limit % (1 << 20) else f"{limit >> 20} MiB"
        super().__init__(f"Maximum file size is {size} (server setting CLEARCUT_MAX_BYTES)", role=role)

    def describe(self, names: Mapping[str, str]) -> str | None:
        return _with_field(self, "Maximum file size", names, "of")


class TooManyPixels(ImageError):
    code, reason, message = "image_too_large", "too_many_pixels", "The uploaded image exceeds the maximum size"

    def describe(self, names: Mapping[str, str]) -> str | None:
        return _with_field(self, "The image", names, "in")


class NoForeground(ImageError):
    reason, text = "no_foreground", "Could not identify foreground in image"


class ModerationRefused(ClearcutError):
    status, code, reason = 422, "content_moderation", "moderation"
    message = "The image was refused by content moderation"

    def __init__(self, label: str) -> None:
        super().__init__(f"{self.message}: {label}")
