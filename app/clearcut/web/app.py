"""The ASGI application: routes of every dialect, and what surrounds them."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp

from clearcut.service import Service

from . import api_docs, health, outputs, playground, responses
from .apis import apiframe, eachlabs, photoroom, poof, rembg, removebg, removebg_errors, removedo
from .middleware import RequestMiddleware

ROUTE_MODULES = (poof, removebg, rembg, photoroom, apiframe, eachlabs, removedo, outputs, health, playground)
DIALECTS = (
    poof.DIALECT,
    removebg_errors.DIALECT,
    rembg.DIALECT,
    photoroom.DIALECT,
    apiframe.DIALECT,
    eachlabs.DIALECT,
    removedo.DIALECT,
)


def create_app(service: Service) -> ASGIApp:
    """The application for a built service; starting and stopping the service is the caller's.

    A bare router, not ``Starlette``: its outermost layer would answer our errors in text/plain before we see them.
    """
    routes = [route for room in ROUTE_MODULES for route in room.routes(service)]
    apart = service.settings.metrics_port is not None
    if not apart:
        routes += health.metrics_routes(service)
    absent = [*(["/metrics"] if apart else []), *(() if service.settings.playground else playground.PATHS)]
    routes += api_docs.routes(ROUTE_MODULES, DIALECTS, absent)
    app: ASGIApp = RequestMiddleware(Router(routes, redirect_slashes=False), service, DIALECTS)
    origins = [origin.strip() for origin in service.settings.cors_origins.split(",") if origin.strip()]
    if origins:
        # Outermost: a browser must be able to read our errors too.
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=responses.EXPOSED_HEADERS,
            max_age=600,
        )
    return app


def create_metrics_app(service: Service) -> ASGIApp:
    """``/metrics`` and nothing else, for a port of its own."""
    return RequestMiddleware(Router(health.metrics_routes(service), redirect_slashes=False), service, DIALECTS)
