"""Responses with outputs: bodies, headers and the numbers for the log line."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from clearcut.cutout_types import CutoutOutput, CutoutResult

from .context import RequestContext

EXPOSED_HEADERS = (
    "X-Request-ID", "X-Processing-Time-Ms", "X-Image-Width", "X-Image-Height", "X-Original-Width", "X-Original-Height",
    "X-Foreground-Found", "X-Foreground-Top", "X-Foreground-Left", "X-Foreground-Width", "X-Foreground-Height",
    "X-Matte-Confidence", "X-Matte-Ambiguous-Ratio", "X-Subject-Facts", "X-Ignored-Fields", "Server-Timing",
    "X-Model", "X-Moderation", "Retry-After",
    "X-Credits-Charged", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit",
    "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Width", "X-Height", "X-Max-Width", "X-Max-Height", "X-Type",
    "X-Uncertainty-Score", "ETag", "Content-Range", "Content-Disposition",
)  # fmt: skip
"""Response headers that scripts of other origins may read (Access-Control-Expose-Headers)."""

_SAFE_FIELD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,60}")


def result_headers(context: RequestContext, result: CutoutResult, ignored: Sequence[str]) -> dict[str, str]:
    """Return the headers about the whole result.

    Args:
        ignored: fields of the request without an effect.
    """
    headers = {
        "X-Original-Width": str(result.original_width),
        "X-Original-Height": str(result.original_height),
        "Server-Timing": context.timing.server_timing(),
    }
    if result.model is not None:
        headers["X-Model"] = result.model
    if result.moderation is not None:
        headers["X-Moderation"] = result.moderation
    if names := [name for name in ignored if _SAFE_FIELD.fullmatch(name)]:
        headers["X-Ignored-Fields"] = ", ".join(names[:16])
    return headers


def file_response(output: CutoutOutput, headers: dict[str, str]) -> Response:
    """Return an output as the response body, without copying it."""
    return Response(
        memoryview(output.image.data),
        media_type=output.image.media_type,
        headers=headers | output_headers(output, f"cutout.{output.image.format}", "inline"),
    )


def base64_json(output: CutoutOutput, name: str, members: Mapping[str, Any], prefix: bytes, suffix: bytes) -> bytes:
    """Return a JSON object with the output in base64, between ``prefix`` and ``suffix``.

    The object is joined from parts, because a JSON encoder inspects each character. Large images still take tens of
    milliseconds, so call it on a pool thread.

    Args:
        name: the member with the output.
        members: further members.
    """
    further = "".join(f", {json.dumps(key)}: {json.dumps(value)}" for key, value in members.items())
    text = binascii.b2a_base64(output.image.data, newline=False)
    return b"".join((prefix, b'{"', name.encode(), b'": "', text, b'"', further.encode(), b"}", suffix))


def output_headers(output: CutoutOutput, filename: str, disposition: str) -> dict[str, str]:
    """Return the headers about one output."""
    box = output.box
    headers = {
        "Content-Disposition": f'{disposition}; filename="{filename}"',
        "X-Image-Width": str(output.image.width),
        "X-Image-Height": str(output.image.height),
        "X-Foreground-Found": "false" if box is None else "true",
        "X-Matte-Confidence": f"{output.confidence:.2f}",
        "X-Matte-Ambiguous-Ratio": f"{output.ambiguous_ratio:.4f}",
        "X-Subject-Facts": output.subject_facts.header(),
    }
    if box is not None:
        headers |= {
            "X-Foreground-Top": str(box.top),
            "X-Foreground-Left": str(box.left),
            "X-Foreground-Width": str(box.width),
            "X-Foreground-Height": str(box.height),
        }
    return headers


def result_log_fields(result: CutoutResult) -> dict[str, Any]:
    """Return the fields of the access log line."""
    return {
        "format": ", ".join(output.image.media_type for output in result.outputs),
        "width": result.original_width,
        "height": result.original_height,
        "bytes_out": sum(len(output.image.data) for output in result.outputs),
    }
