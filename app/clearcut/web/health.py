"""What operators and their machines ask: ``/livez``, ``/readyz``, ``/metrics`` and ``/v1/info``. None takes a slot."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut import __version__
from clearcut.service import Service
from clearcut.web.apis.poof import DIALECT

from .json_schema import TEXT, object_schema
from .openapi import get_operation, json_response


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    alive, ready = object_schema(status=TEXT, state=TEXT), object_schema(status=TEXT)
    info = object_schema(name=TEXT, version=TEXT, state=TEXT, limits={"type": "object"})
    text = {"schema": TEXT}
    series = {"description": "Prometheus or OpenMetrics text",
              "content": {"text/plain": text, "application/openmetrics-text": text}}  # fmt: skip

    def asked(summary: str, **answers: Any) -> dict[str, Any]:
        return get_operation(
            summary, "Service", DIALECT, {name.strip("_"): each for name, each in answers.items()}, keyed=False
        )

    return {
        "/livez": asked(
            "Whether to keep the process", _200=json_response("Yes", alive), _503=json_response("No", alive)
        ),
        "/readyz": asked("Whether to send it work", _200=json_response("Yes", ready), _503=json_response("No", ready)),
        "/v1/info": asked("Version, model, measured costs, limits", _200=json_response("All of it", info)),
        "/metrics": asked("Metrics", _200=series),
    }


def routes(service: Service) -> list[Route]:
    async def livez(_: Request) -> Response:
        """200 while the event loop turns and the inference threads live; no work is done to find out."""
        alive = service.alive
        body = {"status": "alive" if alive else "failed", "state": service.lifecycle.state.value}
        return JSONResponse(body, 200 if alive else 503)

    async def readyz(_: Request) -> Response:
        """200 only in READY: a starting, draining or failed process should get no new work."""
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
                "formats": {"input": ["jpeg", "png", "webp"], "output": ["png", "jpg", "webp"]},
            }
        )

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/v1/info", info, methods=["GET"]),
    ]


def metrics_routes(service: Service) -> list[Route]:
    """Apart from the others, as it may have a port of its own."""

    async def metrics(request: Request) -> Response:
        body, content_type = service.metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return [Route("/metrics", metrics, methods=["GET"])]
