"""The Poof dialect, the service's own: ``POST /v1/remove`` and ``GET /v1/me``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors import ClearcutError, Starting
from app.pipeline import Job
from app.service import Service
from app.web.bundle import bundle
from app.web.exchange import Exchange
from app.web.facts import answer_headers, log_facts, result_headers
from app.web.options import remove_options, variants
from app.web.upload import Upload, read_upload

UNLIMITED = 2**31 - 1


def routes(service: Service) -> list[Route]:
    async def remove(request: Request) -> Response:
        exchange = Exchange.of(request)
        trace = exchange.trace
        service.lifecycle.admit()
        if service.pipeline is None:
            raise Starting
        with service.slots.enter():
            with trace.stage("read"):
                upload = await read_upload(
                    request.headers, request.scope["query_string"], exchange.body, service.settings.max_bytes
                )
            job, ignored = read_job(upload)
            result = await exchange.while_connected(service.pipeline.remove(job, trace))
        service.count(result, len(upload.image))
        exchange.format = job.variants[0].format
        exchange.facts |= log_facts(result)
        headers = result_headers(exchange, result, ignored)
        if "variants" in upload.fields:
            return bundle(result, job.variants, headers, request.headers.get("accept", ""))
        answer = result.answers[0]
        return Response(
            memoryview(answer.image.data),
            media_type=answer.image.media_type,
            headers=headers | answer_headers(answer, f"cutout.{exchange.format}", "inline"),
        )

    async def me(_: Request) -> Response:
        """There are no accounts yet: an unlimited plan, and what this process has served since it started."""
        return JSONResponse(
            {
                "organizationId": "self-hosted",
                "plan": "self-hosted",
                "maxCredits": UNLIMITED,
                "usedCredits": service.cutouts,
                "autoRechargeThreshold": None,
            }
        )

    return [Route("/v1/remove", remove, methods=["POST"]), Route("/v1/me", me, methods=["GET"])]


def error_body(error: ClearcutError, request_id: str) -> dict[str, Any]:
    """The flat error object of the Poof contract."""
    body = {"code": error.code, "message": error.message, "request_id": request_id}
    if error.details:
        body["details"] = error.details
    return body


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
    return Job(upload.image, tuple(every), upload.files.get("bg_image")), ignored
