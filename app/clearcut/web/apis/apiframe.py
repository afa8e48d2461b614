"""The Apiframe v2 dialect, for its models of 851-labs and Bria: ``POST /v2/images/background-remove`` and
``GET /v2/jobs/{id}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import InvalidField
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.job_handler import (
    JobOperation,
    JobRequest,
    accept_job,
    job_response,
    read_image,
    register,
    timestamp,
)
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.openapi import json_response
from clearcut.web.request import fields, parsers
from clearcut.web.request.body import Body
from clearcut.web.request.fields import Field, Options, parse_fields
from clearcut.web.request.json_body import object_member, read_json, text_member

from .base import Dialect, ErrorReport
from .job_openapi import API_MODEL, WEBHOOK_URL, create_operation, described, read_operation
from .poof_options import BACKGROUND_TYPES, MODEL_FIELDS

if TYPE_CHECKING:
    from clearcut.jobs.types import JobView

NAME = "apiframe"
LAB851, BRIA = "851-bg-remove", "bria-bg-remove"
PARAMS = {LAB851: "lab851BgRemoveParams", BRIA: "briaBgRemoveParams"}
THRESHOLD_STEPS = 20
"""Steps of the threshold between 0 and 1."""
STATES = {"queued": "QUEUED", "processing": "PROCESSING", "completed": "COMPLETED", "failed": "FAILED"}
PROGRESS = {"queued": 0, "processing": 50, "completed": 100, "failed": 0}


def _threshold(name: str, value: str) -> Options:
    threshold = parsers.number(name, value, 0, 1)
    if abs(threshold * THRESHOLD_STEPS - round(threshold * THRESHOLD_STEPS)) > 1e-6:
        raise InvalidField(name, "a number from 0 to 1 in steps of 0.05")
    return {"threshold": threshold}


_THRESHOLD_SCHEMA = {"type": "number", "minimum": 0, "maximum": 1, "default": 0}
TABLES: dict[str, dict[str, Field]] = {
    LAB851: {
        "format": fields.choice("Output format.", ("png", "jpg"), "format", "png"),
        "threshold": Field(_threshold, _THRESHOLD_SCHEMA, "Above 0: a hard edge at this opacity, in steps of 0.05."),
        "background_type": fields.choice(
            "Background behind the subject.",
            {name: BACKGROUND_TYPES[name] for name in ("rgba", "map", "green", "white", "blur", "overlay")},
            default="rgba",
        ),
    },
    BRIA: {"content_moderation": fields.boolean("Apply the moderation classifier.", "moderate", True)},
}


def routes(service: Service) -> list[Route]:
    async def read(request: Request, body: Body) -> JobRequest:
        return await _job_request(service, request, await read_json(service, request, body, with_images=True))

    operation = JobOperation(NAME, read, webhook_body)
    register(service, operation)

    async def create(request: Request) -> Response:
        job = await accept_job(service, request, operation)
        return JSONResponse({"jobId": job.id, "status": STATES[job.state]}, 202)

    async def show(request: Request) -> Response:
        return await job_response(service, request, NAME, job_body)

    return [
        Route("/v2/images/background-remove", create, methods=["POST"]),
        Route("/v2/jobs/{id}", show, methods=["GET"]),
    ]


async def _job_request(service: Service, request: Request, body: dict[str, Any]) -> JobRequest:
    model = text_member(body, "model")
    if model not in PARAMS:
        raise InvalidField("model", ", ".join(PARAMS))
    params_name = PARAMS[model]
    prefix = params_name + "."
    params = object_member(body, params_name)
    options = parse_fields(params, {**TABLES[model], **MODEL_FIELDS}, prefix=prefix).options
    moderate, served_model = options.pop("moderate", model == BRIA), options.pop("model", None)
    image_field = prefix + "image"
    image = await read_image(service, request, text_member(params, "image", prefix), image_field)
    webhook = text_member(body, "webhook_url") or text_member(body, "webhookUrl")
    return JobRequest(
        RemoveOptions(**options), image_field, **image, webhook=webhook, model=model, moderate=moderate,
        served_model=served_model, model_field=prefix + "model",
    )  # fmt: skip


def job_body(job: JobView, url: str | None) -> dict[str, Any]:
    """Return the body of ``GET /v2/jobs/{id}``; ``url`` is the URL of the output."""
    outcome = job.outcome
    failed = outcome is not None and not outcome.ok
    return {
        "id": job.id,
        "status": STATES[job.state],
        "model": job.spec.model,
        "progress": PROGRESS[job.state],
        "result": _result(job, url),
        "error": outcome.message if outcome is not None and failed else None,
        "creditCost": 0 if failed else job.spec.cost,
        "webhookStatus": job.webhook_state,
        "createdAt": timestamp(job.spec.accepted),
        "completedAt": timestamp(outcome.finished) if outcome is not None else None,
    }


def webhook_body(job: JobView, url: str | None) -> dict[str, Any]:
    body = job_body(job, url)
    event = {"event": job.state, "jobId": job.id, "status": body["status"], "model": body["model"]}
    if job.state == "failed":
        return event | {"error": body["error"]}
    return event | {name: body[name] for name in ("progress", "result", "creditCost", "completedAt")}


def _result(job: JobView, url: str | None) -> dict[str, Any] | None:
    if job.outcome is None or url is None:
        return None
    result: dict[str, Any] = {"images": [url]}
    if job.outcome.moderation is not None:
        result["moderation"] = job.outcome.moderation
    return result


def write_error(report: ErrorReport) -> dict[str, Any]:
    return {"error": report.text, "code": report.error.code, "requestId": report.request_id}


DIALECT = Dialect(
    name="apiframe",
    prefix="/v2/",
    write_error=write_error,
    error_schema=object_schema(error=TEXT, code=TEXT, requestId=TEXT),
    field_names={"webhook": "webhook_url"},
)


def openapi_paths() -> dict[str, Any]:
    params: dict[str, dict[str, Any]] = {
        PARAMS[model]: {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {**TEXT, "description": "A URL or a `data:` URL of the image."}}
            | {name: described(field) for name, field in {**table, **MODEL_FIELDS}.items()},
        }
        for model, table in TABLES.items()
    }
    params[PARAMS[BRIA]]["properties"]["content_moderation"] |= {"type": "boolean", "default": True}
    del params[PARAMS[BRIA]]["properties"]["content_moderation"]["enum"]
    body = {
        "type": "object",
        "required": ["model"],
        "properties": {"model": {"enum": list(PARAMS), "description": API_MODEL}, **params, "webhook_url": WEBHOOK_URL},
    }
    status = {"enum": list(STATES.values())}
    accepted = json_response("The job is accepted", object_schema(jobId=TEXT, status=status))
    job = json_response("The job", object_schema(id=TEXT, status=status, model=TEXT, progress=INTEGER, createdAt=TEXT))
    return {
        "/v2/images/background-remove": create_operation(
            "Apiframe", DIALECT, {"202": accepted}, {"application/json": body}
        ),
        "/v2/jobs/{id}": read_operation("Apiframe", DIALECT, job),
    }
