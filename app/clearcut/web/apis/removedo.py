"""The Removedo dialect: ``POST /api/v1/remove-bg`` and ``GET /api/v1/jobs/{id}``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import MalformedBody, MissingImage, MultipleImages
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.job_handler import JobOperation, JobRequest, accept_job, job_response, register, timestamp
from clearcut.web.json_schema import TEXT, object_schema
from clearcut.web.openapi import FILE, json_response
from clearcut.web.request.body import Body, require_length
from clearcut.web.request.fields import parse_fields
from clearcut.web.request.header_params import parse_content_type
from clearcut.web.request.limits import ENVELOPE_BYTES
from clearcut.web.request.multipart import read_multipart
from clearcut.web.request.text_bodies import urlencoded_fields

from .base import Dialect, ErrorReport
from .job_openapi import IMAGE_URL, WEBHOOK_URL, create_operation, described, read_operation
from .poof_options import MODEL_FIELDS

if TYPE_CHECKING:
    from clearcut.jobs.types import JobView

NAME = "removedo"
STATES = {"queued": "processing", "processing": "processing", "completed": "completed", "failed": "failed"}
FILE_FIELDS = {"image_file": "image"}


def routes(service: Service) -> list[Route]:
    async def read(request: Request, body: Body) -> JobRequest:
        files, fields = await _read_form(request, body, service.settings.max_bytes)
        url, data = fields.get("image_url"), files.get("image")
        if url is not None and data is not None:
            raise MultipleImages("image", ("image_file", "image_url"))
        if not url and not data:
            raise MissingImage("Send the image in field 'image_file', or its URL in 'image_url'")
        image_field = "image_url" if url else "image_file"
        model = parse_fields(fields, MODEL_FIELDS).options.get("model")
        webhook = fields.get("webhook_url")
        return JobRequest(RemoveOptions(), image_field, url=url, data=data, webhook=webhook, served_model=model)

    operation = JobOperation(NAME, read, webhook_body)
    register(service, operation)

    async def create(request: Request) -> Response:
        job = await accept_job(service, request, operation)
        seconds = service.jobs.backlog.estimate_s() if service.jobs is not None else 0.0
        body = {
            "jobId": job.id,
            "status": STATES[job.state],
            "createdAt": timestamp(job.spec.accepted),
            "estimatedCompletionTime": estimate(seconds),
        }
        return JSONResponse(body, 202)

    async def show(request: Request) -> Response:
        return await job_response(service, request, NAME, job_body)

    return [
        Route("/api/v1/remove-bg", create, methods=["POST"]),
        Route("/api/v1/jobs/{id}", show, methods=["GET"]),
    ]


def estimate(seconds: float) -> str:
    """Format an estimate as a range, such as ``1-2 seconds`` or ``3-6 minutes``."""
    if seconds < 90:
        low = max(1, math.floor(seconds))
        return f"{low}-{max(low + 1, math.ceil(2 * seconds))} seconds"
    low = max(1, math.floor(seconds / 60))
    return f"{low}-{max(low + 1, math.ceil(2 * seconds / 60))} minutes"


def job_body(job: JobView, url: str | None) -> dict[str, Any]:
    """Return the body of ``GET /api/v1/jobs/{id}``; ``url`` is the URL of the output."""
    return webhook_body(job, url) | {"createdAt": timestamp(job.spec.accepted)}


def webhook_body(job: JobView, url: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"jobId": job.id, "status": STATES[job.state]}
    if job.outcome is None:
        return body
    body["completedAt"] = timestamp(job.outcome.finished)
    return body | ({"outputUrl": url} if job.outcome.ok else {"errorMessage": job.outcome.message})


async def _read_form(request: Request, body: Body, max_file_bytes: int) -> tuple[dict[str, bytearray], dict[str, str]]:
    """Return (files by role, fields) of a multipart or urlencoded body."""
    media_type, parameters = parse_content_type(request.headers.get("content-type"))
    multipart = media_type == b"multipart/form-data"
    if not multipart and media_type != b"application/x-www-form-urlencoded":
        raise MalformedBody("Send multipart/form-data or application/x-www-form-urlencoded")
    max_bytes = ENVELOPE_BYTES + (max_file_bytes if multipart else 0)
    require_length(request.headers, max_bytes, max_file_bytes)
    if not multipart:
        return {}, urlencoded_fields(await body.read(max_bytes, max_file_bytes))
    form = await read_multipart(parameters, body, FILE_FIELDS, max_file_bytes, max_bytes)
    return {role: file for role, file in form.files.items() if file}, form.fields


def write_error(report: ErrorReport) -> dict[str, Any]:
    body = {"error": report.error.message, "code": report.error.code, "requestId": report.request_id}
    return body | ({"message": report.details} if report.details else {})


DIALECT = Dialect(
    name="removedo",
    prefix="/api/v1/",
    write_error=write_error,
    error_schema=object_schema(error=TEXT, code=TEXT, requestId=TEXT),
    field_names={"image": "image_file", "webhook": "webhook_url"},
)


def openapi_paths() -> dict[str, Any]:
    texts = {"image_url": IMAGE_URL, "webhook_url": WEBHOOK_URL, "model": described(MODEL_FIELDS["model"])}
    bodies = {
        "multipart/form-data": {
            "type": "object",
            "properties": {"image_file": {**FILE, "description": "The image."}, **texts},
        },
        "application/x-www-form-urlencoded": {"type": "object", "properties": texts, "required": ["image_url"]},
    }
    status = {"enum": ["processing", "completed", "failed"]}
    created = object_schema(jobId=TEXT, status=status, createdAt=TEXT, estimatedCompletionTime=TEXT)
    accepted = json_response("The job is accepted", created)
    job = json_response("The job", object_schema(jobId=TEXT, status=status, createdAt=TEXT))
    return {
        "/api/v1/remove-bg": create_operation("Removedo", DIALECT, {"202": accepted}, bodies),
        "/api/v1/jobs/{id}": read_operation("Removedo", DIALECT, job),
    }
