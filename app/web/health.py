"""What operators and their machines ask: ``/livez``, ``/readyz``, ``/metrics`` and ``/v1/info``. None takes a slot."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import __version__
from app.service import Service


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

    async def metrics(request: Request) -> Response:
        body, content_type = service.metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def info(_: Request) -> Response:
        settings = service.settings
        served = service.served
        return JSONResponse(
            {
                "name": "clearcut",
                "version": __version__,
                "state": service.lifecycle.state.value,
                "model": served.facts if served is not None else None,
                "inference": served.plan.to_dict() if served is not None else None,
                "workers": service.workers,
                "limits": {
                    "max_bytes": settings.max_bytes,
                    "max_megapixels": settings.max_megapixels,
                    "max_side": settings.max_side,
                    "slots": service.slots.capacity,
                    "inflight_pixels": service.pixels.capacity,
                    "deadline_s": settings.deadline_s,
                },
                "formats": {"input": ["jpeg", "png", "webp"], "output": ["png", "jpg", "webp"]},
            }
        )

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/v1/info", info, methods=["GET"]),
    ]
