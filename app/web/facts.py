"""What an answer says of itself beside its pixels: response headers, and numbers for the log line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from app.pipeline import Answer, Result
from app.web.exchange import Exchange

EXPOSED_HEADERS = (
    "X-Request-ID", "X-Processing-Time-Ms", "X-Image-Width", "X-Image-Height", "X-Original-Width", "X-Original-Height",
    "X-Foreground-Found", "X-Foreground-Top", "X-Foreground-Left", "X-Foreground-Width", "X-Foreground-Height",
    "X-Matte-Confidence", "X-Matte-Ambiguous-Ratio", "X-Ignored-Fields", "Server-Timing", "Retry-After",
)  # fmt: skip
"""What a browser's script may read of an answer from another origin."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def result_headers(exchange: Exchange, result: Result, ignored: Sequence[str]) -> dict[str, str]:
    """What is true of the whole answer."""
    headers = {
        "X-Original-Width": str(result.original_width),
        "X-Original-Height": str(result.original_height),
        "Server-Timing": exchange.trace.server_timing(),
    }
    if named := [name for name in ignored if _PLAIN_NAME.fullmatch(name)]:
        headers["X-Ignored-Fields"] = ", ".join(named[:16])
    return headers


def answer_headers(answer: Answer, filename: str, disposition: str) -> dict[str, str]:
    """What is true of one output."""
    box = answer.box
    headers = {
        "Content-Disposition": f'{disposition}; filename="{filename}"',
        "X-Image-Width": str(answer.image.width),
        "X-Image-Height": str(answer.image.height),
        "X-Foreground-Found": "false" if box is None else "true",
        "X-Matte-Confidence": f"{answer.confidence:.2f}",
        "X-Matte-Ambiguous-Ratio": f"{answer.ambiguous_ratio:.4f}",
    }
    if box is not None:
        headers |= {
            "X-Foreground-Top": str(box.top),
            "X-Foreground-Left": str(box.left),
            "X-Foreground-Width": str(box.width),
            "X-Foreground-Height": str(box.height),
        }
    return headers


def log_facts(result: Result) -> dict[str, Any]:
    """For the log line."""
    return {
        "format": ", ".join(answer.image.media_type for answer in result.answers),
        "width": result.original_width,
        "height": result.original_height,
        "bytes_out": sum(len(answer.image.data) for answer in result.answers),
    }
