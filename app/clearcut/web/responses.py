"""What an answer says of itself beside its pixels: response headers, and numbers for the log line."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from clearcut.cutout import CutoutOutput, CutoutResult

from .context import RequestContext

EXPOSED_HEADERS = (
    "X-Request-ID", "X-Processing-Time-Ms", "X-Image-Width", "X-Image-Height", "X-Original-Width", "X-Original-Height",
    "X-Foreground-Found", "X-Foreground-Top", "X-Foreground-Left", "X-Foreground-Width", "X-Foreground-Height",
    "X-Matte-Confidence", "X-Matte-Ambiguous-Ratio", "X-Subject-Facts", "X-Ignored-Fields", "Server-Timing",
    "X-Model", "Retry-After",
    "X-Credits-Charged", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit",
    "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Width", "X-Height", "X-Max-Width", "X-Max-Height", "X-Type",
    "X-Uncertainty-Score", "ETag", "Content-Range", "Content-Disposition",
)  # fmt: skip
"""What a browser's script may read of an answer from another origin."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def result_headers(exchange: RequestContext, result: CutoutResult, ignored: Sequence[str]) -> dict[str, str]:
    """What is true of the whole answer."""
    headers = {
        "X-Original-Width": str(result.original_width),
        "X-Original-Height": str(result.original_height),
        "Server-Timing": exchange.trace.server_timing(),
    }
    if result.model is not None:
        headers["X-Model"] = result.model
    if named := [name for name in ignored if _PLAIN_NAME.fullmatch(name)]:
        headers["X-Ignored-Fields"] = ", ".join(named[:16])
    return headers


def file_response(answer: CutoutOutput, headers: dict[str, str]) -> Response:
    """One output as the body, without a copy of it."""
    return Response(
        memoryview(answer.image.data),
        media_type=answer.image.media_type,
        headers=headers | output_headers(answer, f"cutout.{answer.image.format}", "inline"),
    )


def base64_json(answer: CutoutOutput, name: str, beside: Mapping[str, Any], around: tuple[bytes, bytes]) -> bytes:
    """A JSON object of the output in base64 as ``name`` and of ``beside``, between the bytes of ``around``.

    Put together from pieces, since a JSON encoder would look at each of its millions of characters; tens of
    milliseconds all the same for a large picture, so it is for a thread of the pool.
    """
    rest = "".join(f", {json.dumps(key)}: {json.dumps(value)}" for key, value in beside.items())
    text = binascii.b2a_base64(answer.image.data, newline=False)
    return b"".join((around[0], b'{"', name.encode(), b'": "', text, b'"', rest.encode(), b"}", around[1]))


def output_headers(answer: CutoutOutput, filename: str, disposition: str) -> dict[str, str]:
    """What is true of one output."""
    box = answer.box
    headers = {
        "Content-Disposition": f'{disposition}; filename="{filename}"',
        "X-Image-Width": str(answer.image.width),
        "X-Image-Height": str(answer.image.height),
        "X-Foreground-Found": "false" if box is None else "true",
        "X-Matte-Confidence": f"{answer.confidence:.2f}",
        "X-Matte-Ambiguous-Ratio": f"{answer.ambiguous_ratio:.4f}",
        "X-Subject-Facts": answer.subject_facts.header(),
    }
    if box is not None:
        headers |= {
            "X-Foreground-Top": str(box.top),
            "X-Foreground-Left": str(box.left),
            "X-Foreground-Width": str(box.width),
            "X-Foreground-Height": str(box.height),
        }
    return headers


def log_fields(result: CutoutResult) -> dict[str, Any]:
    """For the log line."""
    return {
        "format": ", ".join(answer.image.media_type for answer in result.outputs),
        "width": result.original_width,
        "height": result.original_height,
        "bytes_out": sum(len(answer.image.data) for answer in result.outputs),
    }
