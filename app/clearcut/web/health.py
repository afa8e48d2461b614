"""Operator endpoints: ``/livez``, ``/readyz`` (also ``/health``), ``/metrics``, ``/v1/info``. They need no slot."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut import __version__
from clearcut.imaging.formats.registry import INPUT_FORMATS, OUTPUT_FORMATS
from clearcut.service import Service
from clearcut.web.apis.poof import DIALECT

from .json_schema import TEXT, object_schema
from .openapi import get_operation, json_response

MONITORING_PATHS = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""Paths that probes and Prometheus request all the time. They have no traces."""


def openapi_paths() -> dict[str, Any]:
    state, status = object_schema(status=TEXT, state=TEXT), object_schema(status=TEXT)
    info = object_schema(name=TEXT, version=TEXT, state=TEXT, limits={"type": "object"})
    text = {"schema": TEXT}
    metrics = {
        "description": "The metrics in Prometheus or OpenMetrics text format",
        "content": {"text/plain": text, "application/openmetrics-text": text},
    }
    alive, not_alive = json_response("Healthy", state), json_response("Failed", state)
    ready, not_ready = json_response("Ready", status), json_response("Not ready", status)
    details = json_response("Version, model, measured costs and limits", info)
    return {
        "/livez": _operation("Check health; restart the process on 503", {"200": alive, "503": not_alive}),
        "/readyz": _operation("Check readiness for requests", {"200": ready, "503": not_ready}),
        "/health": _operation("The same as /readyz", {"200": ready, "503": not_ready}),
        "/v1/info": _operation("Get version, model, measured costs and limits", {"200": details}),
        "/metrics": _operation("Get metrics", {"200": metrics}),
    }


def routes(service: Service) -> list[Route]:
    async def livez(_: Request) -> Response:
        """Return 200 while the event loop and the inference threads run; otherwise restart the process."""
        alive = service.alive
        body = {"status": "alive" if alive else "failed", "state": service.lifecycle.state.value}
        return JSONResponse(body, 200 if alive else 503)

    async def readyz(_: Request) -> Response:
        """Return 200 only in the state READY; send no requests otherwise."""
        ready = service.lifecycle.ready and service.alive
        body = {"status": "ready" if ready else service.lifecycle.state.value}
        return JSONResponse(body, 200 if ready else 503)

    async def info(_: Request) -> Response:
        settings = service.settings
        served = service.model
        return JSONResponse(
            {
                "name": "clearcut",
                "version": __version__,
                "state": service.lifecycle.state.value,
                "model": served.labels if served is not None else None,
                "inference": served.plan.to_dict() if served is not None else None,
                "models": [
                    {**each.labels, "memory_bytes": each.memory_bytes, "inference": each.plan.to_dict()}
                    for each in service.loaded
                ],
                "workers": service.workers,
                "limits": {
                    "max_bytes": settings.max_bytes,
                    "max_megapixels": settings.max_megapixels,
                    "max_side": settings.max_side,
                    "slots": service.slots.capacity,
                    "inflight_pixels": service.pixels.capacity,
                    "deadline_s": settings.deadline_s,
                    "body_stall_s": settings.body_stall_s,
                    "max_scans": settings.max_scans,
                    "max_segments": settings.max_segments,
                },
                "formats": {
                    "input": [each.name for each in INPUT_FORMATS],
                    "output": [each.extension for each in OUTPUT_FORMATS],
                },
            }
        )

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/health", readyz, methods=["GET"]),
        Route("/v1/info", info, methods=["GET"]),
    ]


def metrics_routes(service: Service) -> list[Route]:
    """Return the route of ``/metrics``, which may have a separate port."""

    async def metrics(request: Request) -> Response:
        body, content_type = service.metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return [Route("/metrics", metrics, methods=["GET"])]


def _operation(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return get_operation(summary, "Service", DIALECT, responses, keyed=False)
