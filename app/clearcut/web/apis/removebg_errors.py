"""The error bodies and statuses of the remove.bg dialect."""

from __future__ import annotations

from typing import Any

from clearcut.errors import (
    AuthenticationError,
    BrokenImage,
    ClearcutError,
    FetchFailed,
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

from .base import Dialect, plain_status

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
"""(class, code, title); the first that fits counts."""


def error_body(error: ClearcutError, request_id: str) -> dict[str, Any]:
    """A list of one error; the request id is in the header alone, as the original has it."""
    code, title = next(((code, title) for kind, code, title in _CODES if isinstance(error, kind)), (None, None))
    if isinstance(error, FetchFailed):
        backdrop = error.field == "bg_image_url"
        code = "failed_bg_download" if backdrop else "failed_image_download"
        title = "Failed to download background image" if backdrop else "Failed to download image"
    elif code is None and isinstance(error, InvalidOption):
        code, title = f"invalid_{error.field}", f"Invalid {error.field} given"
    body = {"title": title or error.message, "code": code or error.code}
    if error.details:
        body["detail"] = error.details
    return {"errors": [body]}


def _status(error: ClearcutError) -> int:
    return 403 if isinstance(error, AuthenticationError) else plain_status(error)


_ERROR = object_schema(title=TEXT, code=TEXT)
_SCHEMA = object_schema(errors={"type": "array", "minItems": 1, "maxItems": 1, "items": _ERROR})
DIALECT = Dialect("remove.bg", "/v1.0/", error_body, _SCHEMA, _status, older_rate_headers=True)
