"""The each::labs dialect: ``POST /v1/prediction/`` and ``GET /v1/prediction/{id}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import InvalidField, MissingImage
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.job_handler import JobHandler, JobRequest, accept_job, find_job
from clearcut.web.json_schema import TEXT, object_schema
from clearcut.web.openapi import json_response
from clearcut.web.request.body import Body
from clearcut.web.request.json_body import object_member, read_object, text_member

from .base import Dialect, ErrorReport
from .job_openapi import CREATE_STATUSES, READ_STATUSES, operation

if TYPE_CHECKING:
    from clearcut.jobs.models import JobView

NAME = "eachlabs"
MODEL = "eachlabs-bg-remover-v1"
FIELD = "input.image_url"
STATES = {"queued": "processing", "processing": "processing", "completed": "success", "failed": "error"}


def routes(service: Service) -> list[Route]:
    async def read(request: Request, body: Body) -> JobRequest:
        given = await read_object(service, request, body, pictures=False)
        if text_member(given, "model") != MODEL:
            raise InvalidField("model", MODEL)
        url = text_member(object_member(given, "input"), "image_url", "input.")
        if url is None:
            raise MissingImage(f"Send the URL of the image in '{FIELD}'")
        return JobRequest(RemoveOptions(), FIELD, url=url, webhook=text_member(given, "webhook_url"), model=MODEL)

    settings = service.settings
    desk = JobHandler(NAME, read, settings.eachlabs_per_minute, settings.eachlabs_concurrent)
    if service.jobs is not None:
        service.jobs.webhook_bodies[NAME] = webhook_body

    async def create(request: Request) -> Response:
        job = await accept_job(service, request, desk)
        said = {"status": "success", "message": "Prediction created successfully", "predictionID": job.id}
        return JSONResponse(said)

    async def show(request: Request) -> Response:
        job = await find_job(service, request, NAME)
        return JSONResponse(body(job, service.jobs.output_url(job) if service.jobs is not None else None))

    return [
        Route("/v1/prediction/", create, methods=["POST"]),
        Route("/v1/prediction", create, methods=["POST"]),
        Route("/v1/prediction/{id}", show, methods=["GET"]),
    ]


def body(job: JobView, url: str | None) -> dict[str, Any]:
    """The job as ``GET /v1/prediction/{id}`` has it."""
    outcome = job.outcome
    seconds = round(outcome.seconds, 3) if outcome is not None else 0
    said = {"status": STATES[job.state], "predictionID": job.id, "output": url, "metrics": {"predict_time": seconds}}
    return said | ({"error": outcome.message} if outcome is not None and not outcome.ok else {})


def webhook_body(job: JobView, url: str | None) -> dict[str, Any]:
    ok = job.outcome is not None and job.outcome.ok
    return {
        "exec_id": job.id,
        "status": "succeeded" if ok else "failed",
        "output": url,
        "error": None if ok or job.outcome is None else job.outcome.message,
    }


def write_error(report: ErrorReport) -> dict[str, Any]:
    """Return the error body of each::labs, which has no request id; the header has it."""
    return {"status": "error", "message": report.error.message, "details": report.text}


_ERROR = object_schema(status={"const": "error"}, message=TEXT, details=TEXT)
DIALECT = Dialect(
    "eachlabs", "/v1/prediction", write_error, _ERROR, field_names={"image": FIELD, "webhook": "webhook_url"}
)


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    order = object_schema(model={"const": MODEL}, input=object_schema(image_url=TEXT))
    order["properties"]["webhook_url"] = TEXT
    created = json_response("The prediction is accepted", object_schema(status={"const": "success"}, predictionID=TEXT))
    shown = object_schema(
        status={"enum": ["processing", "success", "error"]}, predictionID=TEXT, metrics={"type": "object"}
    )
    tag, kinds = "each::labs", {"application/json": order}
    create = operation("post", "Remove a background later", tag, {"200": created}, DIALECT, CREATE_STATUSES, kinds)
    read = operation("get", "How far a prediction is", tag, {"200": json_response("It", shown)}, DIALECT, READ_STATUSES)
    return {"/v1/prediction/": create, "/v1/prediction": create, "/v1/prediction/{id}": read}
