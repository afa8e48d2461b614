"""Error bodies and statuses of the remove.bg dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clearcut.errors import (
    AuthenticationError,
    BrokenImage,
    ClearcutError,
    FetchFailed,
    InvalidField,
    InvalidOption,
    MissingImage,
    MultipleBackgrounds,
    MultipleImages,
    NoForeground,
    PaymentRequired,
    PermissionDenied,
    RegionEmpty,
    RegionOutside,
    TooManyBytes,
    TooManyPixels,
    UnsupportedFormat,
)
from clearcut.web.json_schema import TEXT, object_schema

from .base import Dialect, ErrorReport, default_status

_CODES: tuple[tuple[type[ClearcutError], str, str], ...] = (
    (RegionOutside, "roi_exceeds_bounds", "ROI exceeds the image bounds"),
    (RegionEmpty, "roi_region_empty", "ROI region is empty"),
    (MissingImage, "missing_source", "No image given"),
    (MultipleImages, "multiple_sources", "Multiple image sources given"),
    (MultipleBackgrounds, "multiple_bg_sources", "Multiple background sources given"),
    (UnsupportedFormat, "invalid_file_type", "Invalid file type"),
    (BrokenImage, "failed_to_read_image", "Failed to read image"),
    (TooManyBytes, "file_too_large", "File too large"),
    (TooManyPixels, "resolution_too_high", "Image resolution too high"),
    (NoForeground, "unknown_foreground", "Could not identify foreground in image"),
    (AuthenticationError, "auth_failed", "API Key invalid"),
    (PermissionDenied, "auth_failed", "API Key invalid"),
    (PaymentRequired, "insufficient_credits", "Insufficient credits"),
)
"""(class, code, title); the first matching class applies."""


def write_error(report: ErrorReport) -> dict[str, Any]:
    """Return a list of errors, as remove.bg does: one, or one for each invalid field. The header has the request id."""
    error = report.error
    if isinstance(error, InvalidField) and error.others:
        fields = [InvalidField(each.field, each.expected) for each in error.each]
        reports = [replace(report, error=each, field=each.field, details=each.details) for each in fields]
        return {"errors": [_entry(each) for each in reports]}
    return {"errors": [_entry(report)]}


def _entry(report: ErrorReport) -> dict[str, str]:
    error = report.error
    code, title = next(((code, title) for cls, code, title in _CODES if isinstance(error, cls)), (None, None))
    if isinstance(error, FetchFailed):
        background = error.role == "background"
        code = "failed_bg_download" if background else "failed_image_download"
        title = "Failed to download background image" if background else "Failed to download image"
    elif code is None and isinstance(error, InvalidOption):
        code, title = f"invalid_{report.field}", f"Invalid {report.field} given"
    body = {"title": title or error.message, "code": code or error.code}
    if report.details:
        body["detail"] = report.details
    return body


def _status(error: ClearcutError) -> int:
    return 403 if isinstance(error, AuthenticationError) else default_status(error)


_ERROR = object_schema(title=TEXT, code=TEXT)
_SCHEMA = object_schema(errors={"type": "array", "minItems": 1, "items": _ERROR})
DIALECT = Dialect(
    name="remove.bg",
    prefix="/v1.0/",
    write_error=write_error,
    error_schema=_SCHEMA,
    status=_status,
    field_names={"image": "image_file", "background": "bg_image_file"},
    older_rate_headers=True,
)
