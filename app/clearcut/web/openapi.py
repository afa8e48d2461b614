"""The words in which a dialect describes itself: pieces of an OpenAPI 3.1 document.

Fields come from the tables that read them and errors from the tree that raises them, so that neither is written twice.
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
    ModerationRefused,
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
from clearcut.web.request.fields import Table
from clearcut.web.request.upload import UploadSchema

from .json_schema import INTEGER, TEXT, Schema

ADDRESS: Schema = {
    "type": "string",
    "description": "The picture's address, in place of the file, where CLEARCUT_FETCH is on.",
}
FILE: Schema = {"type": "string", "format": "binary"}
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
    "X-Model": {"type": "string", "description": "The model that made the matte; absent when the request has a mask."},
    "X-Credits-Charged": INTEGER,
    "Server-Timing": TEXT,
}
_OF_OUTPUTS = InvalidSignature | OutputNotFound | OutputExpired | RangeNotSatisfiable
_OF_JOBS = JobNotFound | JobsDisabled | ModerationRefused


def json_response(about: str, schema: Schema) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def get_operation(
    summary: str, tag: str, dialect: Dialect, answers: Mapping[str, Any], *, keyed: bool
) -> dict[str, Any]:
    """A GET operation."""
    refusals = error_responses(dialect, keyed=keyed, works=False)
    return {"get": {"summary": summary, "tags": [tag], "responses": {**refusals, **answers}, **_security(keyed)}}


def post_operation(
    summary: str,
    tag: str,
    dialect: Dialect,
    intake: UploadSchema,
    table: Table,
    answer: dict[str, Any],
) -> dict[str, Any]:
    """A POST operation that takes a picture."""
    idempotency = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "With an account: the same request under the same key is charged once in 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }
    options = [
        {"name": name, "in": "query", "description": field.about, "schema": dict(field.schema)}
        for name, field in table.items()
    ]
    return {
        "post": {
            "summary": summary,
            "tags": [tag],
            "description": "Options are fields of the form, or of the query string where the body is the image itself. "
            "An empty value is the same as an absent one.",
            "parameters": [idempotency, *options],
            "requestBody": {"required": True, "content": _bodies(intake, table)},
            "responses": {"200": answer, **error_responses(dialect, keyed=True, works=True)},
            **_security(True),
        }
    }


def cutout_response(types: Sequence[str], headers: Mapping[str, Schema], json: Schema | None = None) -> dict[str, Any]:
    """The answer with a picture, as a file of one of ``types``, or in JSON."""
    content: dict[str, Any] = {kind: {"schema": FILE} for kind in types}
    return {
        "description": "The cut-out",
        "headers": {name: {"schema": schema} for name, schema in headers.items()},
        "content": content | ({"application/json": {"schema": json}} if json else {}),
    }


def error_responses(dialect: Dialect, *, keyed: bool, works: bool) -> dict[str, Any]:
    """What a route may refuse with, by status as the dialect has it."""
    answers: dict[str, list[str]] = {}
    for kind in _tree(ClearcutError):
        if _possible(kind, keyed=keyed, works=works):
            status = str(dialect.status(kind.__new__(kind)))
            messages = answers.setdefault(status, [])
            if kind.message not in messages:
                messages.append(kind.message)
    return {status: error_response("; ".join(messages), dialect) for status, messages in sorted(answers.items())}


def error_response(about: str, dialect: Dialect) -> dict[str, Any]:
    """One more status that is refused with the dialect's body."""
    return json_response(about, {"$ref": f"#/components/schemas/{dialect.schema_name}"})


def _possible(kind: type[ClearcutError], *, keyed: bool, works: bool) -> bool:
    if issubclass(kind, ClientGone | RouteNotFound | _OF_OUTPUTS | _OF_JOBS) or kind in (ClearcutError, InputError):
        return False
    if issubclass(kind, MethodNotAllowed | InternalError):
        return True
    if issubclass(kind, InputError | UploadTimeout | RateLimited | PaymentRequired | IdempotencyConflict):
        return works
    if issubclass(kind, AuthenticationError):
        return keyed
    return keyed or works


def _tree(kind: type[ClearcutError]) -> Iterator[type[ClearcutError]]:
    yield kind
    for each in sorted(kind.__subclasses__(), key=lambda each: each.reason):
        yield from _tree(each)


def _bodies(intake: UploadSchema, table: Table) -> dict[str, Any]:
    fields = {name: {**field.schema, "description": field.about} for name, field in table.items()}
    files = dict.fromkeys(intake.roles, FILE)
    texts = {name: {"type": "string", "contentEncoding": "base64"} for name in intake.encoded}
    addresses = dict.fromkeys(intake.addresses, ADDRESS)
    form = {"type": "object", "properties": {**files, **texts, **addresses, **fields}}
    if not (intake.encoded or intake.addresses):
        form["required"] = [intake.main]
    bodies: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    bodies |= {kind: {"schema": FILE} for kind in RAW_TYPES}
    if intake.encoded:
        texts |= addresses
        encoded = {"type": "object", "properties": {**texts, **fields}}
        bodies["application/x-www-form-urlencoded"] = {"schema": encoded}
        as_json = {name: _as_json(schema) for name, schema in fields.items()}
        bodies["application/json"] = {"schema": {**encoded, "properties": {**texts, **as_json}}}
    return bodies


def _as_json(schema: Schema) -> Schema:
    """In JSON a boolean may be one."""
    if schema.get("enum") == ["true", "false"]:
        return {**schema, "type": ["string", "boolean"], "enum": ["true", "false", True, False]}
    return schema


def _security(keyed: bool) -> dict[str, Any]:
    return {"security": [{}, {"apiKey": []}, {"bearer": []}, {"basic": []}]} if keyed else {"security": []}
