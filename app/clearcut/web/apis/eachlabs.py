"""The each::labs dialect: ``POST /v1/prediction/`` and ``GET /v1/prediction/{id}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import InvalidField, MissingImage
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.job_handler import JobOperation, JobRequest, accept_job, job_response, register
from clearcut.web.json_schema import TEXT, object_schema
from clearcut.web.openapi import json_response
from clearcut.web.request.body import Body
from clearcut.web.request.fields import parse_fields
from clearcut.web.request.json_body import object_member, read_json, text_member

from .base import Dialect, ErrorReport
from .job_openapi import API_MODEL, IMAGE_URL, WEBHOOK_URL, create_operation, described, read_operation
from .poof_options import MODEL_FIELDS

if TYPE_CHECKING:
    from clearcut.jobs.types import JobView

NAME = "eachlabs"
MODEL = "eachlabs-bg-remover-v1"
IMAGE_FIELD = "input.image_url"
STATES = {"queued": "processing", "processing": "processing", "completed": "success", "failed": "error"}


def routes(service: Service) -> list[Route]:
    async def read(request: Request, body: Body) -> JobRequest:
        members = await read_json(service, request, body, with_images=False)
        if text_member(members, "model") != MODEL:
            raise InvalidField("model", MODEL)
        url = text_member(object_member(members, "input"), "image_url", "input.")
        if url is None:
            raise MissingImage(f"Send the URL of the image in '{IMAGE_FIELD}'")
        webhook = text_member(members, "webhook_url")
        model = parse_fields(object_member(members, "input"), MODEL_FIELDS, prefix="input.").options.get("model")
        return JobRequest(
            RemoveOptions(), IMAGE_FIELD, url=url, webhook=webhook, model=MODEL,
            served_model=model, model_field="input.model",
        )  # fmt: skip

    settings = service.settings
    operation = JobOperation(NAME, read, webhook_body, settings.eachlabs_per_minute, settings.eachlabs_concurrent)
    register(service, operation)

    async def create(request: Request) -> Response:
        job = await accept_job(service, request, operation)
        return JSONResponse({"status": "success", "message": "Prediction created successfully", "predictionID": job.id})

    async def show(request: Request) -> Response:
        return await job_response(service, request, NAME, job_body)

    return [
        Route("/v1/prediction/", create, methods=["POST"]),
        Route("/v1/prediction", create, methods=["POST"]),
        Route("/v1/prediction/{id}", show, methods=["GET"]),
    ]


def job_body(job: JobView, url: str | None) -> dict[str, Any]:
    """Return the body of ``GET /v1/prediction/{id}``; ``url`` is the URL of the output."""
    outcome = job.outcome
    seconds = round(outcome.seconds, 3) if outcome is not None else 0
    body = {"status": STATES[job.state], "predictionID": job.id, "output": url, "metrics": {"predict_time": seconds}}
    return body | ({"error": outcome.message} if outcome is not None and not outcome.ok else {})


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


DIALECT = Dialect(
    name="eachlabs",
    prefix="/v1/prediction",
    write_error=write_error,
    error_schema=object_schema(status={"const": "error"}, message=TEXT, details=TEXT),
    field_names={"image": IMAGE_FIELD, "webhook": "webhook_url"},
)


def openapi_paths() -> dict[str, Any]:
    body = object_schema(model={"const": MODEL, "description": API_MODEL}, input=object_schema(image_url=IMAGE_URL))
    body["properties"]["webhook_url"] = WEBHOOK_URL
    body["properties"]["input"]["properties"]["model"] = described(MODEL_FIELDS["model"])
    accepted = json_response(
        "The prediction is accepted", object_schema(status={"const": "success"}, predictionID=TEXT)
    )
    prediction = json_response(
        "The prediction",
        object_schema(
            status={"enum": ["processing", "success", "error"]}, predictionID=TEXT, metrics={"type": "object"}
        ),
    )
    create = create_operation("each::labs", DIALECT, {"200": accepted}, {"application/json": body})
    read = read_operation("each::labs", DIALECT, prediction)
    return {"/v1/prediction/": create, "/v1/prediction": create, "/v1/prediction/{id}": read}
