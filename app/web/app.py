"""The ASGI application: routes of every dialect, and what surrounds them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app.errors import InputError, MethodNotAllowed, RouteNotFound
from app.service import Service
from app.web import health, poof
from app.web.middleware import ExchangeMiddleware


def create_app(service: Service) -> ASGIApp:
    """The application for a built service; starting and stopping the service is the caller's."""
    origins = [origin.strip() for origin in service.settings.cors_origins.split(",") if origin.strip()]
    app = Starlette(
        routes=[*poof.routes(service), *health.routes(service)],
        exception_handlers={HTTPException: _http_error},
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=poof.EXPOSED_HEADERS,
                max_age=600,
            )
        ]
        if origins
        else [],
    )
    app.router.redirect_slashes = False
    return ExchangeMiddleware(app, service, poof.error_body)


def _http_error(request: Request, exc: Exception) -> Response:
    """The framework's own refusals, as ours."""
    if not isinstance(exc, HTTPException):
        raise exc
    if exc.status_code == 404:
        raise RouteNotFound("See the README for the routes of this service")
    if exc.status_code == 405:
        raise MethodNotAllowed((exc.headers or {}).get("Allow", ""))
    raise InputError(exc.detail)
