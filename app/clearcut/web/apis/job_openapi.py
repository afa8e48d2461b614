"""The asynchronous dialects' routes, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearcut.web.json_schema import TEXT, Schema
from clearcut.web.openapi import error_response

from .base import Dialect


def operation(
    verb: str, summary: str, tag: str, answers: dict[str, Any], dialect: Dialect, statuses: Mapping[str, str],
    body: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A route of a dialect, for the OpenAPI document.

    Args:
        statuses: what is refused with, and why.
        body: by content type, of a request.
    """
    found: dict[str, Any] = {
        "summary": summary,
        "tags": [tag],
        "parameters": [],
        "responses": {status: error_response(why, dialect) for status, why in statuses.items()} | answers,
        "security": [{}, {"apiKey": []}, {"bearer": []}, {"basic": []}],
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": {kind: {"schema": each} for kind, each in body.items()}}
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        about = "The same order under the same key is one job."
        found["parameters"].append({"name": "Idempotency-Key", "in": "header", "description": about, "schema": schema})
    else:
        found["parameters"].append({"name": "id", "in": "path", "required": True, "schema": TEXT})
    return {verb: found}


CREATE_STATUSES = {
    "400": "One or more parameters are invalid", "401": "Invalid or missing API key", "402": "Insufficient credits",
    "403": "Permission denied", "404": "Jobs are disabled", "405": "Method not allowed on this route",
    "408": "The request body did not arrive in time",
    "422": "The Idempotency-Key came with another order before", "429": "Rate limit exceeded",
    "500": "Internal server error", "503": "Service temporarily unavailable",
    "504": "The request exceeded its deadline",
}  # fmt: skip
READ_STATUSES = {
    "401": "Invalid or missing API key", "403": "Permission denied", "404": "No such job; Jobs are disabled",
    "405": "Method not allowed on this route", "500": "Internal server error",
    "503": "Service temporarily unavailable", "504": "The request exceeded its deadline",
}  # fmt: skip
