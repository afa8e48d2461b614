"""The Photoroom dialect (Basic plan): ``POST /v1/segment``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearcut.cutout_types import CutoutRequest
from clearcut.errors import InvalidField
from clearcut.imaging.formats.registry import IMAGE_MEDIA_TYPES, IMAGE_WRITERS
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.openapi import cutout_response, post_operation
from clearcut.web.request import fields
from clearcut.web.request.fields import Field, Options, ParsedFields, parse_fields
from clearcut.web.request.header_params import accepts
from clearcut.web.request.unused_fields import fields_without_effect
from clearcut.web.request.upload import Upload, UploadSchema
from clearcut.web.request.upload_errors import URLS_DISABLED
from clearcut.web.responses import base64_json, file_response, result_headers
from clearcut.web.sync_handler import CutoutRoute, FinishedCutout, SyncOperation, handle_cutout

from .base import Dialect, ErrorReport, default_status

UPLOAD = UploadSchema(
    file_fields={"image_file": "image"},
    base64_fields={"image_file_b64": "image"},
    url_fields={"image_url": "image"},
)

SIZES: dict[str, Options] = {
    "preview": {"max_pixels": 250_000}, "medium": {"max_pixels": 1_500_000},
    "hd": {"max_pixels": 4_000_000}, "full": {"max_pixels": 36_000_000},
}  # fmt: skip
FIELDS: dict[str, Field] = {
    "format": fields.choice("Output format.", IMAGE_WRITERS, "format", "png"),
    "channels": fields.choice("`alpha`: the matte alone, as a grayscale image.", ("rgba", "alpha"), "channels", "rgba"),
    "bg_color": fields.color("Background color, in all formats."),
    "size": fields.choice(
        "Maximum size of the output: 0.25, 1.5, 4 or 36 megapixels. Never enlarges.",
        SIZES,
        default="full",
    ),
    "crop": fields.boolean("Crop to the box of the subject.", "crop", False),
    "despill": fields.boolean("Accepted and ignored; the old background's color is always removed from edges."),
}  # fmt: skip

IGNORED = ("despill",)
"""Fields that are checked and have no effect; `X-Ignored-Fields` names them."""


def routes(service: Service) -> list[Route]:
    async def respond(cutout: FinishedCutout) -> Response:
        output = cutout.output
        headers = result_headers(cutout.context, cutout.result, cutout.ignored)
        headers["x-uncertainty-score"] = f"{1 - output.confidence:.4f}"
        if not accepts(cutout.accept, "application/json"):
            return file_response(output, headers)
        body = await service.on_pool(lambda: base64_json(output, "base64img", {}, b"", b""))
        return Response(body, media_type="application/json", headers=headers)

    operation = SyncOperation(UPLOAD, parse_request, respond)

    async def segment(request: Request) -> Response:
        return await handle_cutout(service, request, operation)

    return [CutoutRoute("/v1/segment", segment, methods=["POST"])]


def parse_request(upload: Upload) -> tuple[CutoutRequest, list[str]]:
    """Return (request, fields without an effect).

    Raises:
        InvalidField: a field is invalid.
    """
    if "image_url" in upload.fields:
        raise InvalidField("image_url", URLS_DISABLED)
    parsed = parse_fields(upload.fields, FIELDS)
    upload.name_options(parsed.names)
    ignored = parsed.unknown + [name for name in IGNORED if name in upload.fields]
    ignored += fields_without_effect(parsed, _build, SIZES["full"])
    return CutoutRequest(upload.image, (_build(parsed),)), ignored


def _build(parsed: ParsedFields) -> RemoveOptions:
    return RemoveOptions(**{**SIZES["full"], **parsed.options})


def write_error(report: ErrorReport) -> dict[str, Any]:
    return {
        "detail": report.text,
        "status_code": default_status(report.error),
        "type": report.error.code,
        "request_id": report.request_id,
    }


DIALECT = Dialect(
    name="photoroom",
    prefix="/v1/segment",
    write_error=write_error,
    error_schema=object_schema(detail=TEXT, status_code=INTEGER, type=TEXT, request_id=TEXT),
    field_names={"image": "image_file"},
)


def openapi_paths() -> dict[str, Any]:
    response = cutout_response(
        IMAGE_MEDIA_TYPES,
        {"X-Credits-Charged": INTEGER, "x-uncertainty-score": {"type": "number", "minimum": 0, "maximum": 1}},
        json=object_schema(base64img=TEXT),
    )
    summary = "Remove the background, as Photoroom does"
    return {"/v1/segment": post_operation(summary, "Photoroom", DIALECT, UPLOAD, FIELDS, response)}
