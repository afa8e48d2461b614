"""For schemathesis: what it makes up is no picture, so in half of its requests a real one takes its place.

Beside a real picture only a few of the made-up fields stay: of twenty at once one is nearly always wrong.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import schemathesis

from tests.support import samples

PICTURE = samples.png(samples.photo("coffee")[::8, ::8])
FILES = ("image_file", "image", "file", "image_file_b64", "bg_image", "bg_image_file", "mask", "mask_file",
         "url", "image_url", "bg_image_url")  # fmt: skip


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Decided by the request itself, so that a failure repeats."""
    number, other = hashlib.sha256(repr((case.path, case.query, case.body)).encode()).digest()[:2]
    if keys := os.environ.get("OPENAPI_KEYS", "").split():
        case.headers["x-api-key"] = keys[other % len(keys)]
        if other % 5 == 0:
            case.headers["Idempotency-Key"] = f"order-{other % 3}"
    if number % 2:
        return
    if isinstance(case.body, bytes):
        case.body = PICTURE
        case.query = _few(case.query, number)
    elif isinstance(case.body, dict):
        fields = _few(case.body, number)
        if case.media_type == "multipart/form-data":
            fields["file" if case.path.startswith("/api") else "image_file"] = PICTURE
        else:
            fields["image_file_b64"] = base64.b64encode(PICTURE).decode()
        case.body, case.query = fields, {}


def _few(fields: Any, number: int) -> dict[str, Any]:
    kept = {name: value for name, value in (fields or {}).items() if name not in FILES}
    return dict(list(kept.items())[: number // 2 % 4])
