"""The Apiframe v2 dialect, its wrappers of 851-labs and of Bria: ``POST /v2/images/background-remove``,
``GET /v2/jobs/{id}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import InvalidField
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.job_handler import JobHandler, JobRequest, accept_job, find_job, picture, timestamp
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.openapi import json_response
from clearcut.web.request import fields, parsers
from clearcut.web.request.body import Body
from clearcut.web.request.fields import Field, Parsed
from clearcut.web.request.json_body import object_member, read_members, read_object, text_member

from .base import Dialect, ErrorReport
from .job_openapi import CREATE_STATUSES, READ_STATUSES, operation
from .poof_options import BACKGROUND_TYPES

if TYPE_CHECKING:
    from clearcut.jobs.models import JobView

NAME = "apiframe"
LAB851, BRIA = "851-bg-remove", "bria-bg-remove"
PARAMS = {LAB851: "lab851BgRemoveParams", BRIA: "briaBgRemoveParams"}
STEPS = 20
"""Of the threshold between 0 and 1."""
STATES = {"queued": "QUEUED", "processing": "PROCESSING", "completed": "COMPLETED", "failed": "FAILED"}
PROGRESS = {"queued": 0, "processing": 50, "completed": 100, "failed": 0}


def _threshold(name: str, value: str) -> Parsed:
    given = parsers.number(name, value, 0, 1)
    if abs(given * STEPS - round(given * STEPS)) > 1e-6:
        raise InvalidField(name, "a number from 0 to 1 in steps of 0.05")
    return {"threshold": given}


_SCHEMA_OF_THRESHOLD = {"type": "number", "minimum": 0, "maximum": 1, "default": 0}
TABLES: dict[str, dict[str, Field]] = {
    LAB851: {
        "format": fields.choice("Of the file.", ("png", "jpg"), "format", "png"),
        "threshold": Field(_threshold, _SCHEMA_OF_THRESHOLD, "Above 0 a hard cut at this opacity, in steps of 0.05."),
        "background_type": fields.choice(
            "What stands behind the subject.",
            {name: BACKGROUND_TYPES[name] for name in ("rgba", "map", "green", "white", "blur", "overlay")},
            default="rgba",
        ),
    },
    BRIA: {"content_moderation": fields.boolean("Refuse what the moderation model refuses.", "moderate", False)},
}


def routes(service: Service) -> list[Route]:
    async def read(request: Request, body: Body) -> JobRequest:
        return await _wanted(service, request, await read_object(service, request, body, pictures=True))

    desk = JobHandler(NAME, read)
    if service.jobs is not None:
        service.jobs.webhook_bodies[NAME] = webhook_body

    async def create(request: Request) -> Response:
        job = await accept_job(service, request, desk)
        return JSONResponse({"jobId": job.id, "status": STATES[job.state]}, 202)

    async def show(request: Request) -> Response:
        job = await find_job(service, request, NAME)
        return JSONResponse(body(job, service.jobs.output_url(job) if service.jobs is not None else None))

    return [
        Route("/v2/images/background-remove", create, methods=["POST"]),
        Route("/v2/jobs/{id}", show, methods=["GET"]),
    ]


async def _wanted(service: Service, request: Request, given: dict[str, Any]) -> JobRequest:
    model = text_member(given, "model")
    if model not in PARAMS:
        raise InvalidField("model", ", ".join(PARAMS))
    path = PARAMS[model]
    params = object_member(given, path)
    parsed = read_members(params, TABLES[model], path + ".")
    moderate = parsed.pop("moderate", False)
    field = f"{path}.image"
    found = await picture(service, request, text_member(params, "image", path + "."), field)
    webhook = text_member(given, "webhook_url") or text_member(given, "webhookUrl")
    return JobRequest(RemoveOptions(**parsed), field, **found, webhook=webhook, model=model, moderate=moderate)


def body(job: JobView, url: str | None) -> dict[str, Any]:
    """The job as ``GET /v2/jobs/{id}`` has it."""
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
    whole = body(job, url)
    event = {"event": job.state, "jobId": job.id, "status": whole["status"], "model": whole["model"]}
    if job.state == "failed":
        return event | {"error": whole["error"]}
    return event | {name: whole[name] for name in ("progress", "result", "creditCost", "completedAt")}


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
    "apiframe",
    "/v2/",
    write_error,
    object_schema(error=TEXT, code=TEXT, requestId=TEXT),
    field_names={"webhook": "webhook_url"},
)


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    params: dict[str, dict[str, Any]] = {
        PARAMS[model]: {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {**TEXT, "description": "An address, or a `data:` URL."}}
            | {name: {**dict(field.schema), "description": field.about} for name, field in table.items()},
        }
        for model, table in TABLES.items()
    }
    params[PARAMS[BRIA]]["properties"]["content_moderation"] = {"type": "boolean"}
    order = {
        "type": "object",
        "required": ["model"],
        "properties": {"model": {"enum": list(PARAMS)}, **params, "webhook_url": TEXT},
    }
    taken = json_response("The job is accepted", object_schema(jobId=TEXT, status={"enum": list(STATES.values())}))
    job = object_schema(id=TEXT, status={"enum": list(STATES.values())}, model=TEXT, progress=INTEGER, createdAt=TEXT)
    tag, path = "Apiframe", "/v2/images/background-remove"
    kinds = {"application/json": order}
    return {
        path: operation("post", "Remove a background later", tag, {"202": taken}, DIALECT, CREATE_STATUSES, kinds),
        "/v2/jobs/{id}": operation(
            "get", "How far a job is", tag, {"200": json_response("The job", job)}, DIALECT, READ_STATUSES
        ),
    }
