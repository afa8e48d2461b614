"""Parts of the OpenAPI 3.1 document that the dialects share.

Fields derive from the tables that parse them, statuses from the error classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clearcut.errors import (
    AuthenticationError,
    ClearcutError,
    ClientGone,
    IdempotencyConflict,
    InputError,
    InternalError,
    InvalidSignature,
    JobNotFound,
    JobsDisabled,
    MethodNotAllowed,
    OutputExpired,
    OutputNotFound,
    PaymentRequired,
    RangeNotSatisfiable,
    RateLimited,
    RouteNotFound,
    UploadTimeout,
)
from clearcut.imaging.formats.registry import INPUT_MEDIA_TYPES
from clearcut.web.apis.base import Dialect
from clearcut.web.request.fields import FieldTable
from clearcut.web.request.upload import UploadSchema

from .json_schema import INTEGER, TEXT, Schema

URL: Schema = {"type": "string", "description": "URL of the file, instead of the file, where CLEARCUT_FETCH is on."}
FILE: Schema = {"type": "string", "format": "binary"}
_FILES = {
    "image": "The image.",
    "background": "Background image.",
    "mask": "Your own matte, used instead of the model's.",
}
"""Descriptions of the files of a request by role."""
RAW_TYPES = (*INPUT_MEDIA_TYPES, "application/octet-stream")
CUTOUT_HEADERS = {
    "X-Request-ID": TEXT,
    "X-Processing-Time-Ms": INTEGER,
    "X-Image-Width": INTEGER,
    "X-Image-Height": INTEGER,
    "X-Original-Width": INTEGER,
    "X-Original-Height": INTEGER,
    "X-Foreground-Found": {"enum": ["true", "false"]},
    "X-Matte-Confidence": {"type": "number", "minimum": 0, "maximum": 1},
    "X-Matte-Ambiguous-Ratio": {"type": "number", "minimum": 0, "maximum": 1},
    "X-Subject-Facts": TEXT,
    "X-Moderation": {"type": "string", "enum": ["passed", "not run"], "description": "Result of `moderation`."},
    "X-Model": {"type": "string", "description": "The model that made the matte; absent if the request has a mask."},
    "X-Credits-Charged": INTEGER,
    "Server-Timing": TEXT,
}
IDEMPOTENCY_SCHEMA: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
KEY_SECURITY: list[dict[str, list[str]]] = [{}, {"apiKey": []}, {"bearer": []}, {"basic": []}]
_OUTPUT_ERRORS = InvalidSignature | OutputNotFound | OutputExpired | RangeNotSatisfiable
_JOB_ERRORS = JobNotFound | JobsDisabled


def json_response(description: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def get_operation(
    summary: str, tag: str, dialect: Dialect, responses: Mapping[str, Any], *, keyed: bool
) -> dict[str, Any]:
    """Return a GET operation.

    Args:
        responses: by status, without errors.
        keyed: whether the operation uses an API key.
    """
    errors = error_responses(dialect, keyed=keyed, cutout=False)
    return {"get": {"summary": summary, "tags": [tag], "responses": {**errors, **responses}, **_security(keyed)}}


def post_operation(
    summary: str, tag: str, dialect: Dialect, upload: UploadSchema, table: FieldTable, response: dict[str, Any]
) -> dict[str, Any]:
    """Return a POST operation that accepts an image."""
    idempotency = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "With an account: a repeated request with the same key is charged once in 24 hours.",
        "schema": IDEMPOTENCY_SCHEMA,
    }
    options = [
        {"name": name, "in": "query", "description": field.description, "schema": dict(field.schema)}
        for name, field in table.items()
    ]
    return {
        "post": {
            "summary": summary,
            "tags": [tag],
            "description": "Options are fields of the form, or of the query string if the body is the image itself. "
            "An empty value is the same as an absent one.",
            "parameters": [idempotency, *options],
            "requestBody": {"required": True, "content": _request_bodies(upload, table)},
            "responses": {"200": response, **error_responses(dialect, keyed=True, cutout=True)},
            **_security(True),
        }
    }


def cutout_response(types: Sequence[str], headers: Mapping[str, Schema], json: Schema | None = None) -> dict[str, Any]:
    """Return a response with an image.

    Args:
        types: media types of the image as the body.
        json: schema of the JSON form, if the dialect has one.
    """
    content: dict[str, Any] = {media_type: {"schema": FILE} for media_type in types}
    return {
        "description": "The cut-out",
        "headers": {name: {"schema": schema} for name, schema in headers.items()},
        "content": content | ({"application/json": {"schema": json}} if json else {}),
    }


def error_responses(dialect: Dialect, *, keyed: bool, cutout: bool) -> dict[str, Any]:
    """Return the possible errors by status.

    Args:
        keyed: whether the operation uses an API key.
        cutout: whether the operation processes an image.
    """
    messages_by_status: dict[str, list[str]] = {}
    for cls in _subclasses(ClearcutError):
        if _possible(cls, keyed=keyed, cutout=cutout):
            status = str(dialect.status(cls.__new__(cls)))
            messages = messages_by_status.setdefault(status, [])
            if cls.message not in messages:
                messages.append(cls.message)
    return {
        status: error_response("; ".join(messages), dialect) for status, messages in sorted(messages_by_status.items())
    }


def error_response(description: str, dialect: Dialect) -> dict[str, Any]:
    """Return a response with the dialect's error body."""
    return json_response(description, {"$ref": f"#/components/schemas/{dialect.schema_name}"})


def _possible(cls: type[ClearcutError], *, keyed: bool, cutout: bool) -> bool:
    excluded = ClientGone | RouteNotFound | _OUTPUT_ERRORS | _JOB_ERRORS
    if issubclass(cls, excluded) or cls in (ClearcutError, InputError):
        return False
    if issubclass(cls, MethodNotAllowed | InternalError):
        return True
    if issubclass(cls, InputError | UploadTimeout | RateLimited | PaymentRequired | IdempotencyConflict):
        return cutout
    if issubclass(cls, AuthenticationError):
        return keyed
    return keyed or cutout


def _subclasses(cls: type[ClearcutError]) -> Iterator[type[ClearcutError]]:
    """Yield a class and all its subclasses in a stable order."""
    yield cls
    for subclass in sorted(cls.__subclasses__(), key=lambda subclass: subclass.reason):
        yield from _subclasses(subclass)


def _request_bodies(upload: UploadSchema, table: FieldTable) -> dict[str, Any]:
    options = {name: {**field.schema, "description": field.description} for name, field in table.items()}
    files = {name: {**FILE, "description": _FILES[role]} for name, role in upload.file_fields.items()}
    texts: dict[str, Schema] = {
        name: {"type": "string", "contentEncoding": "base64", "description": _FILES[role]}
        for name, role in upload.base64_fields.items()
    }
    urls = dict.fromkeys(upload.url_fields, URL)
    form = {"type": "object", "properties": {**files, **texts, **urls, **options}}
    if not (upload.base64_fields or upload.url_fields):
        form["required"] = [upload.main_field]
    bodies: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    bodies |= {media_type: {"schema": FILE} for media_type in RAW_TYPES}
    if upload.base64_fields:
        texts |= urls
        text_form = {"type": "object", "properties": {**texts, **options}}
        bodies["application/x-www-form-urlencoded"] = {"schema": text_form}
        json_options = {name: _json_schema(schema) for name, schema in options.items()}
        bodies["application/json"] = {"schema": {**text_form, "properties": {**texts, **json_options}}}
    return bodies


def _json_schema(schema: Schema) -> Schema:
    """Return the schema of a field in JSON, where booleans may also be JSON booleans."""
    if schema.get("enum") == ["true", "false"]:
        return {**schema, "type": ["string", "boolean"], "enum": ["true", "false", True, False]}
    return schema


def _security(keyed: bool) -> dict[str, Any]:
    return {"security": KEY_SECURITY if keyed else []}
