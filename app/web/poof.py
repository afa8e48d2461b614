"""The Poof dialect, the service's own: ``POST /v1/remove`` and ``GET /v1/me``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors import ClearcutError, Starting
from app.pipeline import Result
from app.service import Service
from app.web.exchange import Exchange
from app.web.options import poof_options
from app.web.upload import read_upload

UNLIMITED = 2**31 - 1

EXPOSED_HEADERS = (
    "X-Request-ID", "X-Processing-Time-Ms", "X-Image-Width", "X-Image-Height", "X-Original-Width", "X-Original-Height",
    "X-Foreground-Found", "X-Foreground-Top", "X-Foreground-Left", "X-Foreground-Width", "X-Foreground-Height",
    "X-Matte-Confidence", "X-Matte-Ambiguous-Ratio", "X-Ignored-Fields", "Server-Timing", "Retry-After",
)  # fmt: skip
"""What a browser's script may read of an answer from another origin."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


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
            options, ignored = poof_options(upload.fields)
            result = await exchange.while_connected(service.pipeline.remove(upload.image, options, trace))
        service.count(result, len(upload.image))
        exchange.format = options.format
        exchange.facts |= facts(result)
        return image_response(exchange, result, ignored)

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


def image_response(exchange: Exchange, result: Result, ignored: Sequence[str]) -> Response:
    image, box = result.image, result.box
    headers = {
        "Content-Disposition": f'inline; filename="cutout.{exchange.format}"',
        "X-Image-Width": str(image.width),
        "X-Image-Height": str(image.height),
        "X-Original-Width": str(result.original_width),
        "X-Original-Height": str(result.original_height),
        "X-Foreground-Found": "false" if box is None else "true",
        "X-Matte-Confidence": f"{result.confidence:.2f}",
        "X-Matte-Ambiguous-Ratio": f"{result.ambiguous_ratio:.4f}",
        "Server-Timing": exchange.trace.server_timing(),
    }
    if box is not None:
        headers |= {
            "X-Foreground-Top": str(box.top),
            "X-Foreground-Left": str(box.left),
            "X-Foreground-Width": str(box.width),
            "X-Foreground-Height": str(box.height),
        }
    if named := [name for name in ignored if _PLAIN_NAME.fullmatch(name)]:
        headers["X-Ignored-Fields"] = ", ".join(named[:16])
    return Response(memoryview(image.data), media_type=image.media_type, headers=headers)


def facts(result: Result) -> dict[str, Any]:
    return {
        "format": result.image.media_type,
        "width": result.original_width,
        "height": result.original_height,
        "bytes_out": len(result.image.data),
    }
