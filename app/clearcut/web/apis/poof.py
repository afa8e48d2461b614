"""The Poof dialect, which is the service's own API: ``POST /v1/remove`` and ``GET /v1/me``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.cutout_types import CutoutRequest
from clearcut.imaging.formats.registry import OUTPUT_MEDIA_TYPES
from clearcut.service import Service
from clearcut.web.auth import authenticate
from clearcut.web.credits import UNLIMITED
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.multi_response import multi_response
from clearcut.web.openapi import CUTOUT_HEADERS, cutout_response, get_operation, json_response, post_operation
from clearcut.web.request.upload import Upload, UploadSchema
from clearcut.web.responses import file_response, result_headers
from clearcut.web.sync_handler import CutoutRoute, FinishedCutout, SyncOperation, handle_cutout

from .base import Dialect, ErrorReport
from .poof_options import (
    FIELDS,
    VARIANTS,
    add_background_type,
    parse_options,
    parse_variants,
    request_options,
    require_background,
    unused_fields,
)

PATHS = ("/v1/remove", "/v1/remove-background", "/v1/remove-bg")
"""The documented path and two aliases that clients use."""

UPLOAD = UploadSchema(
    file_fields={
        "image_file": "image", "file": "image", "image": "image",
        "bg_image": "background", "bg_image_file": "background",
        "mask": "mask", "mask_file": "mask",
    },
    url_fields={"url": "image", "image_url": "image", "bg_image_url": "background"},
)  # fmt: skip


def routes(service: Service) -> list[Route]:
    async def respond(cutout: FinishedCutout) -> Response:
        headers = result_headers(cutout.context, cutout.result, cutout.ignored)
        if "variants" in cutout.upload.fields:
            return await service.on_pool(lambda: multi_response(cutout.result, headers, cutout.accept))
        return file_response(cutout.output, headers)

    operation = SyncOperation(UPLOAD, parse_request, respond)

    async def remove(request: Request) -> Response:
        return await handle_cutout(service, request, operation)

    async def me(request: Request) -> Response:
        """Return the account. Anonymous callers have an unlimited plan and no used credits: their requests are free."""
        account = await authenticate(service, request)
        organization, plan, max_credits, used = "self-hosted", "self-hosted", UNLIMITED, 0
        if account is not None:
            usage = await service.accounts.usage(account)
            organization, plan, used = account.id, usage.account.plan, usage.used
            max_credits = UNLIMITED if usage.left is None else usage.account.credits
        return JSONResponse(
            {
                "organizationId": organization,
                "plan": plan,
                "maxCredits": max_credits,
                "usedCredits": used,
                "autoRechargeThreshold": None,
            }
        )

    return [*(CutoutRoute(path, remove, methods=["POST"]) for path in PATHS), Route("/v1/me", me, methods=["GET"])]


def parse_request(upload: Upload) -> tuple[CutoutRequest, list[str]]:
    """Return (request, fields without an effect).

    Raises:
        InvalidField: a field is invalid.
    """
    background = upload.files.get("background")
    fields = add_background_type(upload.fields, has_background=background is not None)
    if "variants" in fields:
        variants, ignored = parse_variants(fields)
    else:
        options, parsed = parse_options(fields)
        variants, ignored = [options], unused_fields(fields, parsed)
        upload.name_options(parsed.names)
    require_background(variants, has_background=background is not None)
    ignored = [name for name in ignored if name not in fields.keys() - upload.fields.keys()]
    if background is not None and all(options.effective().backdrop != "image" for options in variants):
        ignored.append(upload.field_names.get("background", "bg_image"))
    mask = upload.files.get("mask")
    return CutoutRequest(upload.image, tuple(variants), background, mask, **request_options(fields)), ignored


def write_error(report: ErrorReport) -> dict[str, Any]:
    """Return the flat error object of the Poof contract."""
    body = {"code": report.error.code, "message": report.error.message, "request_id": report.request_id}
    if report.details:
        body["details"] = report.details
    return body


DIALECT = Dialect(
    name="poof",
    prefix="",
    write_error=write_error,
    error_schema=object_schema(code=TEXT, message=TEXT, request_id=TEXT),
    status=lambda error: error.status,
    field_names={"image": "image_file", "background": "bg_image", "mask": "mask"},
)
"""The dialect of all paths that no other dialect owns."""


def openapi_paths() -> dict[str, Any]:
    cutout = cutout_response([*OUTPUT_MEDIA_TYPES, "multipart/mixed"], CUTOUT_HEADERS)
    table = {**FIELDS, "variants": VARIANTS}
    account = object_schema(organizationId=TEXT, plan=TEXT, maxCredits=INTEGER, usedCredits=INTEGER)
    responses = {"200": json_response("The account", account)}
    return {
        **{path: post_operation("Remove the background", "Poof", DIALECT, UPLOAD, table, cutout) for path in PATHS},
        "/v1/me": get_operation("Get the caller's account", "Poof", DIALECT, responses, keyed=True),
    }
