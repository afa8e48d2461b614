"""The Photoroom dialect (Basic plan): ``POST /v1/segment``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearcut.cutout import CutoutRequest
from clearcut.errors import InvalidField
from clearcut.imaging.formats.registry import IMAGE_MEDIA_TYPES, IMAGE_WRITERS
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.openapi import cutout_response, post_operation
from clearcut.web.request import fields
from clearcut.web.request.fields import Field
from clearcut.web.request.upload import NO_ADDRESS, Upload, UploadSchema
from clearcut.web.responses import base64_json, file_response, result_headers
from clearcut.web.sync_handler import FinishedCutout, SyncOperation, handle_cutout

from .base import Dialect, ErrorReport, plain_status

INTAKE = UploadSchema(
    roles={"image_file": "image"}, encoded={"image_file_b64": "image"}, addresses={"image_url": "image"}
)  # fmt: skip

FIELDS: dict[str, Field] = {
    "format": fields.choice("Of the file.", IMAGE_WRITERS, "format", "png"),
    "channels": fields.choice("`alpha`: the matte alone, grey.", ("rgba", "alpha"), "channels", "rgba"),
    "bg_color": fields.color("Behind the subject, in every format."),
    "size": fields.choice(
        "Pixels of the output at most: 0.25, 1.5, 4 or 36 megapixels. Never enlarges.",
        {
            "preview": {"max_pixels": 250_000}, "medium": {"max_pixels": 1_500_000},
            "hd": {"max_pixels": 4_000_000}, "full": {"max_pixels": 36_000_000},
        },
        default="full",
    ),
    "crop": fields.boolean("To the box of the subject.", "crop", False),
    "despill": fields.boolean("Accepted; the old background's colour is always taken out of the edge."),
}  # fmt: skip


def routes(service: Service) -> list[Route]:
    async def respond(done: FinishedCutout) -> Response:
        answer = done.answer
        headers = result_headers(done.exchange, done.result, done.ignored)
        headers["x-uncertainty-score"] = f"{1 - answer.confidence:.4f}"
        if "application/json" not in done.accept:
            return file_response(answer, headers)
        body = await service.on_pool(lambda: base64_json(answer, "base64img", {}, (b"", b"")))
        return Response(body, media_type="application/json", headers=headers)

    operation = SyncOperation(INTAKE, read_job, respond)

    async def segment(request: Request) -> Response:
        return await handle_cutout(service, request, operation)

    return [Route("/v1/segment", segment, methods=["POST"])]


def read_job(upload: Upload) -> tuple[CutoutRequest, list[str]]:
    """(what is asked for, names of the fields that mean nothing here)."""
    if "image_url" in upload.fields:
        raise InvalidField("image_url", NO_ADDRESS)
    parsed, unknown = fields.read_fields({"size": "full"} | upload.fields, FIELDS)
    return CutoutRequest(upload.image, (RemoveOptions(**parsed),)), unknown


def write_error(report: ErrorReport) -> dict[str, Any]:
    return {
        "detail": report.text,
        "status_code": plain_status(report.error),
        "type": report.error.code,
        "request_id": report.request_id,
    }


_SCHEMA = object_schema(detail=TEXT, status_code=INTEGER, type=TEXT, request_id=TEXT)
DIALECT = Dialect("photoroom", "/v1/segment", write_error, _SCHEMA, field_names={"image": "image_file"})


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    answer = cutout_response(
        IMAGE_MEDIA_TYPES,
        {"X-Credits-Charged": INTEGER, "x-uncertainty-score": {"type": "number", "minimum": 0, "maximum": 1}},
        json=object_schema(base64img=TEXT),
    )
    summary = "Remove the background, as Photoroom does"
    return {"/v1/segment": post_operation(summary, "Photoroom", DIALECT, INTAKE, FIELDS, answer)}
