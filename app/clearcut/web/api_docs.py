"""``/openapi.json``, the API as OpenAPI 3.1, and ``/docs``, the same as a page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from clearcut import __version__
from clearcut.web.apis.base import Dialect, RouteModule
from clearcut.web.apis.poof import DIALECT

from . import docs_page
from .context import CSP_NONE
from .json_schema import TEXT
from .openapi import get_operation, json_response


def openapi_document(modules: Sequence[RouteModule], dialects: Sequence[Dialect]) -> dict[str, Any]:
    """Return the OpenAPI document of all modules."""
    paths: dict[str, Any] = {}
    for module in modules:
        for path, item in module.openapi_paths().items():
            paths.setdefault(path, {}).update(item)
    document = json_response("The OpenAPI 3.1 document", {"type": "object"})
    page = {"description": "The page", "content": {"text/html": {"schema": TEXT}}}
    paths["/openapi.json"] = get_operation(
        "This description as OpenAPI 3.1", "Service", DIALECT, {"200": document}, keyed=False
    )
    paths["/docs"] = get_operation("This description as a page", "Service", DIALECT, {"200": page}, keyed=False)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clearcut",
            "version": __version__,
            "summary": "Self-hosted background removal",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {dialect.schema_name: dialect.error_schema for dialect in dialects},
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The API key is the password."},
            },
        },
    }


def routes(
    modules: Sequence[RouteModule], dialects: Sequence[Dialect], omit: Collection[str] = (), public_url: str = ""
) -> list[Route]:
    """Return the routes.

    Args:
        omit: paths that are not served on this port.
        public_url: base URL in the examples; empty takes it from each request, without the path prefix of a proxy.
    """
    document = openapi_document(modules, dialects)
    for path in omit:
        del document["paths"][path]
    html = docs_page.render(document)
    style_hash = base64.b64encode(hashlib.sha256(docs_page.STYLE.encode()).digest()).decode()
    headers = {"Content-Security-Policy": f"{CSP_NONE}; style-src 'sha256-{style_hash}'"}

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    async def docs(request: Request) -> Response:
        base_url = escape((public_url or str(request.base_url)).rstrip("/"))
        return HTMLResponse(html.replace(docs_page.BASE_URL, base_url), headers=headers)

    async def docs_with_slash(_: Request) -> Response:
        return RedirectResponse("../docs")

    return [
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
        Route("/docs/", docs_with_slash, methods=["GET"]),
    ]
