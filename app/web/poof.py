"""The Poof dialect, the service's own: ``POST /v1/remove`` and ``GET /v1/me``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors import ClearcutError
from app.pipeline import Job
from app.service import Service
from app.web.bundle import bundle
from app.web.dialect import Dialect
from app.web.entry import UNLIMITED, identify
from app.web.facts import file_response, result_headers
from app.web.openapi import ANSWER_HEADERS, IMAGES, cut_out_answer, json_answer, read, work
from app.web.options import FIELDS, VARIANTS, remove_options, variants
from app.web.schema import INTEGER, TEXT, members
from app.web.upload import POOF, Upload
from app.web.work import Finished, Operation, cut_out

PATHS = ("/v1/remove", "/v1/remove-background", "/v1/remove-bg")
"""The documented one, and two that callers use all the same."""


def routes(service: Service) -> list[Route]:
    async def respond(done: Finished) -> Response:
        headers = result_headers(done.exchange, done.result, done.ignored)
        if "variants" in done.upload.fields:
            return await service.on_pool(lambda: bundle(done.result, headers, done.accept))
        return file_response(done.answer, headers)

    operation = Operation(POOF, read_job, respond)

    async def remove(request: Request) -> Response:
        return await cut_out(service, request, operation)

    async def me(request: Request) -> Response:
        """The caller's account; without one an unlimited plan, and what this process has served since it started."""
        account = await identify(service, request)
        organization, plan, most, used = "self-hosted", "self-hosted", UNLIMITED, service.cutouts
        if account is not None:
            usage = await service.access.usage(account)
            organization, plan, used = account.id, usage.account.plan, usage.used
            most = UNLIMITED if usage.left is None else usage.account.credits
        return JSONResponse(
            {
                "organizationId": organization,
                "plan": plan,
                "maxCredits": most,
                "usedCredits": used,
                "autoRechargeThreshold": None,
            }
        )

    return [*(Route(path, remove, methods=["POST"]) for path in PATHS), Route("/v1/me", me, methods=["GET"])]


def error_body(error: ClearcutError, request_id: str) -> dict[str, Any]:
    """The flat error object of the Poof contract."""
    body = {"code": error.code, "message": error.message, "request_id": request_id}
    if error.details:
        body["details"] = error.details
    return body


_SCHEMA = members(code=TEXT, message=TEXT, request_id=TEXT)
DIALECT = Dialect("poof", "", error_body, _SCHEMA, lambda error: error.status)
"""Also of every path that is no dialect's."""


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    answer = cut_out_answer([*IMAGES, "application/zip", "multipart/mixed"], ANSWER_HEADERS)
    table = {**FIELDS, "variants": VARIANTS}
    every = {path: work("Remove the background", "Poof", DIALECT, POOF, table, answer) for path in PATHS}
    account = members(organizationId=TEXT, plan=TEXT, maxCredits=INTEGER, usedCredits=INTEGER)
    answers = {"200": json_answer("The account", account)}
    return {**every, "/v1/me": read("The caller's account", "Poof", DIALECT, answers, keyed=True)}


def read_job(upload: Upload) -> tuple[Job, list[str]]:
    """(what is asked for, names of the fields that mean nothing here)."""
    fields = upload.fields
    if "bg_image" in upload.files and "background_type" not in fields:
        fields = fields | {"background_type": "image"}
    if "variants" in fields:
        every, ignored = variants(fields)
    else:
        options, ignored = remove_options(fields)
        every = [options]
    return Job(upload.image, tuple(every), upload.files.get("bg_image"), upload.files.get("mask")), ignored
