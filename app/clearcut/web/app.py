"""The ASGI application. To add a dialect, write one module in ``apis/`` and add it to ``DIALECT_MODULES``."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp

from clearcut.service import Service

from . import api_docs, health, output_files, playground, responses
from .apis import apiframe, eachlabs, photoroom, poof, rembg, removebg, removedo
from .apis.base import DialectModule, RouteModule
from .middleware import RequestMiddleware
from .sync_handler import CutoutRoute

DIALECT_MODULES: tuple[DialectModule, ...] = (
    poof,
    removebg,
    rembg,
    photoroom,
    apiframe,
    eachlabs,
    removedo,
)

DIALECTS = tuple(module.DIALECT for module in DIALECT_MODULES)
ROUTE_MODULES: tuple[RouteModule, ...] = (*DIALECT_MODULES, output_files, health, playground)


def create_app(service: Service) -> ASGIApp:
    """Create the application of a service; the caller starts and stops the service.

    The application is a ``Router`` and not ``Starlette``, which would answer errors as text/plain.
    """
    routes = [route for module in ROUTE_MODULES for route in module.routes(service)]
    separate_metrics = service.settings.metrics_port is not None
    if not separate_metrics:
        routes += health.metrics_routes(service)
    omit = [*(["/metrics"] if separate_metrics else []), *(() if service.settings.playground else playground.PATHS)]
    routes += api_docs.routes(ROUTE_MODULES, DIALECTS, omit, service.settings.public_url)
    cutout_routes = {route.path: route for route in routes if isinstance(route, CutoutRoute)}
    post_paths = [route.path for route in routes if "POST" in (route.methods or ())]
    router = Router(routes, redirect_slashes=False)
    app: ASGIApp = RequestMiddleware(router, service, DIALECTS, cutout_routes, post_paths)
    origins = [origin.strip() for origin in service.settings.cors_origins.split(",") if origin.strip()]
    if origins:
        # The outermost layer, so that browsers can read errors too.
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=responses.EXPOSED_HEADERS,
            allow_private_network=True,  # pages of a listed origin may call a service in a private network
            max_age=600,
        )
    return app


def create_metrics_app(service: Service) -> ASGIApp:
    """Create an application with ``/metrics`` alone, for a separate port."""
    return RequestMiddleware(Router(health.metrics_routes(service), redirect_slashes=False), service, DIALECTS)
