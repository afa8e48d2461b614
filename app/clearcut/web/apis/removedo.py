"""The Removedo dialect: ``POST /api/v1/remove-bg`` and ``GET /api/v1/jobs/{id}``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import MalformedBody, MissingImage, MultipleImages, TooManyBytes
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.job_handler import JobHandler, JobRequest, accept_job, find_job, timestamp
from clearcut.web.json_schema import TEXT, object_schema
from clearcut.web.openapi import FILE, json_response
from clearcut.web.request.body import Body
from clearcut.web.request.encoded import urlencoded
from clearcut.web.request.header_params import parse_content_type
from clearcut.web.request.json_body import MAX_JSON_BYTES
from clearcut.web.request.multipart import FormReader
from clearcut.web.request.upload import declared_length

from .base import Dialect, ErrorReport
from .job_openapi import CREATE_STATUSES, READ_STATUSES, operation

if TYPE_CHECKING:
    from clearcut.jobs.models import JobView

NAME = "removedo"
STATES = {"queued": "processing", "processing": "processing", "completed": "completed", "failed": "failed"}
_ROLES = {"image_file": "image"}


def routes(service: Service) -> list[Route]:
    async def read(request: Request, body: Body) -> JobRequest:
        files, given = await _read_form(request, body, service.settings.max_bytes)
        url, data = given.get("image_url"), files.get("image")
        if url is not None and data is not None:
            raise MultipleImages("image", ("image_file", "image_url"))
        if not url and not data:
            raise MissingImage("Send the image in field 'image_file', or its URL in 'image_url'")
        field = "image_url" if url else "image_file"
        return JobRequest(RemoveOptions(), field, url=url, data=data, webhook=given.get("webhook_url"))

    desk = JobHandler(NAME, read)
    if service.jobs is not None:
        service.jobs.webhook_bodies[NAME] = webhook_body

    async def create(request: Request) -> Response:
        job = await accept_job(service, request, desk)
        seconds = service.jobs.backlog.estimate_s() if service.jobs is not None else 0.0
        said = {
            "jobId": job.id,
            "status": STATES[job.state],
            "createdAt": timestamp(job.spec.accepted),
            "estimatedCompletionTime": estimate(seconds),
        }
        return JSONResponse(said, 202)

    async def show(request: Request) -> Response:
        job = await find_job(service, request, NAME)
        return JSONResponse(body(job, service.jobs.output_url(job) if service.jobs is not None else None))

    return [
        Route("/api/v1/remove-bg", create, methods=["POST"]),
        Route("/api/v1/jobs/{id}", show, methods=["GET"]),
    ]


def estimate(seconds: float) -> str:
    """Around what was measured, such as ``1-2 seconds`` or ``3-6 minutes``."""
    if seconds < 90:
        low = max(1, math.floor(seconds))
        return f"{low}-{max(low + 1, math.ceil(2 * seconds))} seconds"
    low = max(1, math.floor(seconds / 60))
    return f"{low}-{max(low + 1, math.ceil(2 * seconds / 60))} minutes"


def body(job: JobView, url: str | None) -> dict[str, Any]:
    """The job as ``GET /api/v1/jobs/{id}`` has it."""
    return webhook_body(job, url) | {"createdAt": timestamp(job.spec.accepted)}


def webhook_body(job: JobView, url: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"jobId": job.id, "status": STATES[job.state]}
    if job.outcome is None:
        return said
    said["completedAt"] = timestamp(job.outcome.finished)
    return said | ({"outputUrl": url} if job.outcome.ok else {"errorMessage": job.outcome.message})


async def _read_form(request: Request, body: Body, most: int) -> tuple[dict[str, bytearray], dict[str, str]]:
    """(files by role, fields) of a multipart or urlencoded body."""
    kind, parameters = parse_content_type(request.headers.get("content-type"))
    multipart = kind == b"multipart/form-data"
    cap = MAX_JSON_BYTES + (most if multipart else 0)
    if not multipart and kind != b"application/x-www-form-urlencoded":
        raise MalformedBody("Send multipart/form-data or application/x-www-form-urlencoded")
    if (declared_length(request.headers) or 0) > cap:
        raise TooManyBytes(most)
    boundary = parameters.get(b"boundary", b"")
    if multipart and not boundary:
        raise MalformedBody("multipart/form-data without a boundary; let your HTTP client write the Content-Type")
    data = bytearray()
    try:
        form = FormReader(boundary, _ROLES, most) if multipart else None
        while chunk := await body.chunk():
            if body.received > cap:
                raise TooManyBytes(most)
            if form is None:
                data += chunk
            else:
                form.feed(chunk)
        if form is None:
            return {}, urlencoded(data, {})
        form.finish()
    except FormParserError:
        raise MalformedBody("The multipart body is malformed") from None
    return {role: file for role, file in form.files.items() if file}, form.fields


def write_error(report: ErrorReport) -> dict[str, Any]:
    body = {"error": report.error.message, "code": report.error.code, "requestId": report.request_id}
    return body | ({"message": report.details} if report.details else {})


DIALECT = Dialect(
    "removedo",
    "/api/v1/",
    write_error,
    object_schema(error=TEXT, code=TEXT, requestId=TEXT),
    field_names={"image": "image_file", "webhook": "webhook_url"},
)


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    texts = {"image_url": TEXT, "webhook_url": TEXT}
    kinds = {
        "multipart/form-data": {"type": "object", "properties": {"image_file": FILE, **texts}},
        "application/x-www-form-urlencoded": {"type": "object", "properties": texts, "required": ["image_url"]},
    }
    status = {"enum": ["processing", "completed", "failed"]}
    created = object_schema(jobId=TEXT, status=status, createdAt=TEXT, estimatedCompletionTime=TEXT)
    taken, shown = (
        json_response("The job is accepted", created),
        object_schema(jobId=TEXT, status=status, createdAt=TEXT),
    )
    tag = "Removedo"
    return {
        "/api/v1/remove-bg": operation(
            "post", "Remove a background later", tag, {"202": taken}, DIALECT, CREATE_STATUSES, kinds
        ),
        "/api/v1/jobs/{id}": operation(
            "get", "How far a job is", tag, {"200": json_response("The job", shown)}, DIALECT, READ_STATUSES
        ),
    }
