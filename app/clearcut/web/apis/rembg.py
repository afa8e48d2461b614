"""The dialect of rembg's server: ``POST /api/remove``, always a PNG."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearcut.cutout import CutoutRequest
from clearcut.errors import ClearcutError, InvalidField, InvalidOption, MissingImage
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.json_schema import TEXT, object_schema
from clearcut.web.openapi import CUTOUT_HEADERS, cutout_response, post_operation
from clearcut.web.request import fields, parsers
from clearcut.web.request.fields import Field, Parsed
from clearcut.web.request.upload import NO_ADDRESS, Upload, UploadSchema
from clearcut.web.responses import file_response, result_headers
from clearcut.web.sync_handler import FinishedCutout, SyncOperation, handle_cutout

from .base import Dialect, ErrorReport, plain_status

INTAKE = UploadSchema(roles={"file": "image"}, addresses={"url": "image"})

_MODEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRUE, _FALSE = ("true", "1", "yes", "on", "y", "t"), ("false", "0", "no", "off", "n", "f")


def _model(name: str, value: str) -> Parsed:
    if not _MODEL.fullmatch(value):
        raise InvalidField(name, "a model's name")
    return {}


def _color(name: str, value: str) -> Parsed:
    parts = [part.strip() for part in value.split(",")]
    if len(parts) not in (3, 4) or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        raise InvalidField(name, "red, green, blue and alpha from 0 to 255, such as 255,255,255,255")
    levels = [parsers.integer(name, part, 0, 255, "whole numbers") for part in parts]
    red, green, blue, alpha = [*levels, 255][:4]
    return {"background": (red, green, blue, alpha)}


def _flag(about: str, **meaning: Any) -> Field:
    """A boolean as rembg's framework takes them: many words."""
    return fields.choice(about, {**dict.fromkeys(_TRUE, meaning), **{word: {} for word in _FALSE}}, default="false")


def _ignored(about: str, *examples: str) -> Field:
    return fields.text(about, lambda name, value: {}, examples)


FIELDS: dict[str, Field] = {
    "model": fields.text("Accepted; the model that is served is the one in `/v1/info`.", _model, ["u2net"]),
    "a": _flag("Alpha matting. Accepted; edges are always soft."),
    "af": fields.integer("Accepted.", 0, 255, what="a whole number"),
    "ab": fields.integer("Accepted.", 0, 255, what="a whole number"),
    "ae": fields.integer("Accepted.", 0, 255, what="a whole number"),
    "om": _flag("The mask alone, as a grey picture.", channels="alpha"),
    "ppm": _flag("A hard mask without soft edges.", threshold=0.5),
    "dc": _flag("Accepted; the old background's colour is always taken out of the edge."),
    "vm": _flag("Accepted."),
    "bgc": fields.text("Background: red, green, blue, alpha.", _color, ["255,255,255,255"]),
    "extras": _ignored("Accepted.", "{}"),
}
MEANINGLESS = ("model", "a", "af", "ab", "ae", "dc", "vm", "extras")
"""Checked where they have a grammar, and without an effect: named in ``X-Ignored-Fields``."""


def routes(service: Service) -> list[Route]:
    operation = SyncOperation(INTAKE, read_job, respond)

    async def remove(request: Request) -> Response:
        if request.method != "POST" and service.fetcher is None:
            raise InvalidField("url", NO_ADDRESS)
        return await handle_cutout(service, request, operation)

    return [Route("/api/remove", remove, methods=["GET", "POST"])]


async def respond(done: FinishedCutout) -> Response:
    return file_response(done.answer, result_headers(done.exchange, done.result, done.ignored))


def read_job(upload: Upload) -> tuple[CutoutRequest, list[str]]:
    """(what is asked for, names of the fields that mean nothing here)."""
    given = upload.fields
    if "url" in given:
        raise InvalidField("url", NO_ADDRESS)
    parsed, unknown = fields.read_fields(given, FIELDS)
    return CutoutRequest(upload.image, (RemoveOptions(**parsed),)), unknown + [
        name for name in MEANINGLESS if name in given
    ]


def write_error(report: ErrorReport) -> dict[str, Any]:
    """Return the error body of rembg's framework, with the code and the request id added."""
    return {"detail": report.text, "code": report.error.code, "request_id": report.request_id}


def _status(error: ClearcutError) -> int:
    return 422 if isinstance(error, InvalidOption | MissingImage) else plain_status(error)


_SCHEMA = object_schema(detail=TEXT, code=TEXT, request_id=TEXT)
DIALECT = Dialect("rembg", "/api/", write_error, _SCHEMA, _status, {"image": "file"})

_SUMMARY = "Remove the background, as rembg's server does"


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    answer = cutout_response(["image/png"], CUTOUT_HEADERS)
    posted = post_operation(_SUMMARY, "rembg", DIALECT, INTAKE, FIELDS, answer)
    address = {"name": "url", "in": "query", "description": "Of the picture.", "schema": TEXT}
    asked = {
        **posted["post"],
        "summary": "The same of a picture by its address, where CLEARCUT_FETCH is on",
        "description": "Options are in the query string.",
        "parameters": [address, *posted["post"]["parameters"]],
    }
    del asked["requestBody"]
    return {"/api/remove": {**posted, "get": asked}}
