"""The dialect of rembg's server: ``POST /api/remove``, always a PNG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearcut.cutout_types import CutoutRequest
from clearcut.errors import ClearcutError, InvalidField, InvalidOption, MissingImage, UnknownModel
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.json_schema import TEXT, object_schema
from clearcut.web.openapi import CUTOUT_HEADERS, cutout_response, post_operation
from clearcut.web.request import fields, parsers
from clearcut.web.request.fields import Field, Options, ParsedFields, parse_fields
from clearcut.web.request.unused_fields import fields_without_effect
from clearcut.web.request.upload import Upload, UploadSchema
from clearcut.web.request.upload_errors import URLS_DISABLED
from clearcut.web.responses import file_response, result_headers
from clearcut.web.sync_handler import CutoutRoute, FinishedCutout, SyncOperation, handle_cutout

from .base import Dialect, ErrorReport, default_status
from .poof_options import parse_model

UPLOAD = UploadSchema(file_fields={"file": "image"}, url_fields={"url": "image"})

_GENERAL = re.compile(
    r"u2net|u2netp|u2net_human_seg|silueta|isnet-general-use|bria-rmbg|birefnet-[a-z0-9-]{1,40}|ben2?|withoutbg[a-z-]*"
)
"""rembg's models that remove backgrounds. Its other models segment clothes, anime figures or prompted objects."""
_TRUE, _FALSE = ("true", "1", "yes", "on", "y", "t"), ("false", "0", "no", "off", "n", "f")


def _color(name: str, value: str) -> Options:
    parts = [part.strip() for part in value.split(",")]
    if len(parts) not in (3, 4) or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        raise InvalidField(name, "red, green, blue and alpha from 0 to 255, such as 255,255,255,255")
    levels = [parsers.integer(name, part, 0, 255, "whole numbers") for part in parts]
    red, green, blue, alpha = [*levels, 255][:4]
    return {"background": (red, green, blue, alpha)}


def _flag(description: str, **options: Any) -> Field:
    """Make a boolean field with the words that rembg's framework accepts; ``options`` apply if it is true."""
    words = {**dict.fromkeys(_TRUE, options), **{word: {} for word in _FALSE}}
    return fields.choice(description, words, default="false")


FIELDS: dict[str, Field] = {
    "model": fields.text(
        "Model that makes the matte. rembg's names for general use run the served model of that name, or else the "
        "default; `X-Model` names it.",
        parse_model,
        ["u2net"],
    ),
    "a": _flag("Alpha matting. Accepted and ignored; edges are always soft."),
    "af": fields.integer("Accepted and ignored.", 0, 255, noun="a whole number"),
    "ab": fields.integer("Accepted and ignored.", 0, 255, noun="a whole number"),
    "ae": fields.integer("Accepted and ignored.", 0, 255, noun="a whole number"),
    "om": _flag("Return the mask alone, as a grayscale image.", channels="alpha"),
    "ppm": _flag("Return a hard mask without soft edges.", threshold=0.5),
    "dc": _flag("Accepted and ignored; the old background's color is always removed from edges."),
    "vm": _flag("Accepted and ignored."),
    "bgc": fields.text("Background color: red, green, blue, alpha.", _color, ["255,255,255,255"]),
    "extras": fields.unused("Accepted and ignored.", "{}"),
}
IGNORED = ("a", "af", "ab", "ae", "dc", "vm", "extras")
"""Fields that are checked and have no effect; `X-Ignored-Fields` names them."""


def routes(service: Service) -> list[Route]:
    def parse(upload: Upload) -> tuple[CutoutRequest, list[str]]:
        return parse_request(upload, service.models.names if service.models is not None else ())

    operation = SyncOperation(UPLOAD, parse, respond)

    async def remove(request: Request) -> Response:
        if request.method != "POST" and service.fetcher is None:
            raise InvalidField("url", URLS_DISABLED)
        return await handle_cutout(service, request, operation)

    return [CutoutRoute("/api/remove", remove, methods=["GET", "POST"])]


async def respond(cutout: FinishedCutout) -> Response:
    return file_response(cutout.output, result_headers(cutout.context, cutout.result, cutout.ignored))


def parse_request(upload: Upload, served: Sequence[str]) -> tuple[CutoutRequest, list[str]]:
    """Return (request, fields without an effect).

    Args:
        served: names of the served models.

    Raises:
        InvalidField: a field is invalid.
    """
    if "url" in upload.fields:
        raise InvalidField("url", URLS_DISABLED)
    parsed = parse_fields(upload.fields, FIELDS)
    upload.name_options(parsed.names)
    ignored = parsed.unknown + [name for name in IGNORED if name in upload.fields]
    ignored += [name for name in fields_without_effect(parsed, _build) if name != "model"]
    model = parsed.options.get("model")
    if model is not None and model not in served:
        if not _GENERAL.fullmatch(model):
            raise UnknownModel("model", f"{', '.join(served)}, or a model of rembg for general use, such as u2net")
        model = None
        ignored.append("model")
    return CutoutRequest(upload.image, (_build(parsed),), model=model), ignored


def _build(parsed: ParsedFields) -> RemoveOptions:
    return RemoveOptions(**{name: value for name, value in parsed.options.items() if name != "model"})


def write_error(report: ErrorReport) -> dict[str, Any]:
    """Return the error body of rembg's framework, with the code and the request id added."""
    return {"detail": report.text, "code": report.error.code, "request_id": report.request_id}


def _status(error: ClearcutError) -> int:
    """Return 422 for invalid fields, as rembg's framework does, and 400 for a model that is not served."""
    invalid = isinstance(error, InvalidOption | MissingImage) and not isinstance(error, UnknownModel)
    return 422 if invalid else default_status(error)


DIALECT = Dialect(
    name="rembg",
    prefix="/api/",
    write_error=write_error,
    error_schema=object_schema(detail=TEXT, code=TEXT, request_id=TEXT),
    status=_status,
    field_names={"image": "file"},
)


def openapi_paths() -> dict[str, Any]:
    summary, response = "Remove the background, as rembg's server does", cutout_response(["image/png"], CUTOUT_HEADERS)
    post = post_operation(summary, "rembg", DIALECT, UPLOAD, FIELDS, response)
    url = {"name": "url", "in": "query", "description": "URL of the image.", "schema": TEXT}
    get = {
        **post["post"],
        "summary": "Remove the background of an image at a URL, where CLEARCUT_FETCH is on",
        "description": "Options are in the query string.",
        "parameters": [url, *post["post"]["parameters"]],
    }
    del get["requestBody"]
    return {"/api/remove": {**post, "get": get}}
