"""``/openapi.json``, the API as OpenAPI 3.1, and ``/docs``, the same as a page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from html import escape
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from clearcut import __version__
from clearcut.web.apis.base import Dialect
from clearcut.web.apis.poof import DIALECT

from . import docs_page
from .context import NOTHING
from .json_schema import TEXT
from .openapi import get_operation, json_response


class RouteModule(Protocol):
    """A module with routes that describes them."""

    def paths(self) -> dict[str, Any]: ...


def document(rooms: Sequence[RouteModule], dialects: Sequence[Dialect]) -> dict[str, Any]:
    """The OpenAPI document of all rooms together."""
    paths: dict[str, Any] = {}
    for room in rooms:
        for path, item in room.paths().items():
            paths.setdefault(path, {}).update(item)
    about = {"description": "This description", "content": {"text/html": {"schema": TEXT}}}
    paths["/openapi.json"] = get_operation(
        "This description, for machines", "Service", DIALECT, {"200": json_response("OpenAPI 3.1", {"type": "object"})},
        keyed=False,
    )  # fmt: skip
    paths["/docs"] = get_operation("This description, as a page", "Service", DIALECT, {"200": about}, keyed=False)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clearcut",
            "version": __version__,
            "summary": "A photo in, a clean cut-out back",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {each.schema_name: each.error_schema for each in dialects},
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key is the password."},
            },
        },
    }


def routes(rooms: Sequence[RouteModule], dialects: Sequence[Dialect], elsewhere: Collection[str] = ()) -> list[Route]:
    """
    Args:
        elsewhere: paths that this port does not have.
    """
    whole = document(rooms, dialects)
    for path in elsewhere:
        del whole["paths"][path]
    html = docs_page.render(whole)
    allowed = base64.b64encode(hashlib.sha256(docs_page.STYLE.encode()).digest()).decode()
    headers = {"Content-Security-Policy": f"{NOTHING}; style-src 'sha256-{allowed}'"}

    async def openapi(_: Request) -> Response:
        return JSONResponse(whole)

    async def docs(request: Request) -> Response:
        base_url = escape(str(request.base_url).rstrip("/"))
        return HTMLResponse(html.replace(docs_page.BASE_URL, base_url), headers=headers)

    return [Route("/openapi.json", openapi, methods=["GET"]), Route("/docs", docs, methods=["GET"])]
