"""The Poof dialect, the service's own: ``POST /v1/remove`` and ``GET /v1/me``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import ClearcutError
from clearcut.pipeline import CutoutRequest
from clearcut.service import Service
from clearcut.web.auth import UNLIMITED, identify
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.multi_response import bundle
from clearcut.web.openapi import CUTOUT_HEADERS, IMAGES, cutout_response, get_operation, json_response, post_operation
from clearcut.web.request.upload import POOF, Upload
from clearcut.web.responses import file_response, result_headers
from clearcut.web.sync_handler import FinishedCutout, SyncOperation, handle_cutout

from .base import Dialect
from .poof_options import FIELDS, VARIANTS, remove_options, variants

PATHS = ("/v1/remove", "/v1/remove-background", "/v1/remove-bg")
"""The documented one, and two that callers use all the same."""


def routes(service: Service) -> list[Route]:
    async def respond(done: FinishedCutout) -> Response:
        headers = result_headers(done.exchange, done.result, done.ignored)
        if "variants" in done.upload.fields:
            return await service.on_pool(lambda: bundle(done.result, headers, done.accept))
        return file_response(done.answer, headers)

    operation = SyncOperation(POOF, read_job, respond)

    async def remove(request: Request) -> Response:
        return await handle_cutout(service, request, operation)

    async def me(request: Request) -> Response:
        """The caller's account; without one an unlimited plan, and what this process has served since it started."""
        account = await identify(service, request)
        organization, plan, most, used = "self-hosted", "self-hosted", UNLIMITED, service.cutout_count
        if account is not None:
            usage = await service.accounts.usage(account)
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


_SCHEMA = object_schema(code=TEXT, message=TEXT, request_id=TEXT)
DIALECT = Dialect("poof", "", error_body, _SCHEMA, lambda error: error.status)
"""Also of every path that is no dialect's."""


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    answer = cutout_response([*IMAGES, "application/zip", "multipart/mixed"], CUTOUT_HEADERS)
    table = {**FIELDS, "variants": VARIANTS}
    every = {path: post_operation("Remove the background", "Poof", DIALECT, POOF, table, answer) for path in PATHS}
    account = object_schema(organizationId=TEXT, plan=TEXT, maxCredits=INTEGER, usedCredits=INTEGER)
    answers = {"200": json_response("The account", account)}
    return {**every, "/v1/me": get_operation("The caller's account", "Poof", DIALECT, answers, keyed=True)}


def read_job(upload: Upload) -> tuple[CutoutRequest, list[str]]:
    """(what is asked for, names of the fields that mean nothing here)."""
    fields = upload.fields
    if "bg_image" in upload.files and "background_type" not in fields:
        fields = fields | {"background_type": "image"}
    if "variants" in fields:
        every, ignored = variants(fields)
    else:
        options, ignored = remove_options(fields)
        every = [options]
    return CutoutRequest(upload.image, tuple(every), upload.files.get("bg_image"), upload.files.get("mask")), ignored
