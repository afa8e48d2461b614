"""OpenAPI operations of the asynchronous dialects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearcut.web.json_schema import TEXT, Schema
from clearcut.web.openapi import IDEMPOTENCY_SCHEMA, KEY_SECURITY, error_response
from clearcut.web.request.fields import Field

from .base import Dialect

IMAGE_URL: Schema = {**TEXT, "description": "`https:` URL of the image."}
WEBHOOK_URL: Schema = {**TEXT, "description": "URL that receives the result of the job."}
API_MODEL = "Name of a model of this API."
"""Description of the API's own field ``model``."""


_CREATE_ERRORS = {
    "400": "One or more parameters are invalid", "401": "Invalid or missing API key", "402": "Insufficient credits",
    "403": "Permission denied", "404": "Jobs are disabled", "405": "Method not allowed on this route",
    "408": "The request body did not arrive in time", "422": "The Idempotency-Key was used for another request",
    "429": "Rate limit exceeded", "500": "Internal server error", "503": "Service temporarily unavailable",
    "504": "The request exceeded its deadline",
}  # fmt: skip
_READ_ERRORS = {
    "401": "Invalid or missing API key", "403": "Permission denied", "404": "No such job; Jobs are disabled",
    "405": "Method not allowed on this route", "500": "Internal server error",
    "503": "Service temporarily unavailable", "504": "The request exceeded its deadline",
}  # fmt: skip


def described(field: Field) -> Schema:
    """Return the schema of a field with its description."""
    return {**field.schema, "description": field.description}


def create_operation(
    tag: str, dialect: Dialect, responses: dict[str, Any], bodies: Mapping[str, Schema]
) -> dict[str, Any]:
    """Return the POST operation that creates a job.

    Args:
        responses: by status, without errors.
        bodies: schemas of request bodies by media type.
    """
    description = "A repeated request with the same key returns the same job."
    key = {"name": "Idempotency-Key", "in": "header", "description": description, "schema": IDEMPOTENCY_SCHEMA}
    operation = _operation(
        "Create a job that removes a background, where CLEARCUT_JOBS is on",
        tag,
        dialect,
        responses,
        _CREATE_ERRORS,
        key,
    )
    content = {media_type: {"schema": schema} for media_type, schema in bodies.items()}
    return {"post": {**operation, "requestBody": {"required": True, "content": content}}}


def read_operation(tag: str, dialect: Dialect, response: dict[str, Any]) -> dict[str, Any]:
    """Return the GET operation that reads the state of a job."""
    job_id = {"name": "id", "in": "path", "required": True, "schema": TEXT}
    return {"get": _operation("Get the state of a job", tag, dialect, {"200": response}, _READ_ERRORS, job_id)}


def _operation(
    summary: str, tag: str, dialect: Dialect, responses: dict[str, Any], errors: Mapping[str, str],
    parameter: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    return {
        "summary": summary,
        "tags": [tag],
        "parameters": [parameter],
        "responses": {status: error_response(reason, dialect) for status, reason in errors.items()} | responses,
        "security": KEY_SECURITY,
    }
