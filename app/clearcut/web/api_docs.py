"""``/openapi.json``, the API as OpenAPI 3.1, and ``/docs``, the same as an HTML page without scripts or resources."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut import __version__
from clearcut.web.apis.base import Dialect, RouteModule
from clearcut.web.apis.poof import DIALECT

from .context import CSP_NONE
from .json_schema import TEXT
from .openapi import get_operation, json_response

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1c2430;background:#fff}
h2{margin-top:3rem;border-bottom:1px solid #d5dae0}
code{font:14px ui-monospace,monospace;background:#f1f3f5;padding:0 .2em}
h3{margin:2rem 0 .3rem}table{border-collapse:collapse;width:100%;margin:.6rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #e6e9ec}
.verb{color:#0b6b3a;font-weight:600}
@media(prefers-color-scheme:dark){body{color:#dde3ea;background:#14181d}code{background:#232a32}h2,th,td{border-color:#323b45}}
"""


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


def routes(modules: Sequence[RouteModule], dialects: Sequence[Dialect], omit: Collection[str] = ()) -> list[Route]:
    """Return the routes.

    Args:
        omit: paths that are not served on this port.
    """
    document = openapi_document(modules, dialects)
    for path in omit:
        del document["paths"][path]
    html = html_page(document).encode()
    style_hash = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    headers = {"Content-Security-Policy": f"{CSP_NONE}; style-src 'sha256-{style_hash}'"}

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    async def docs(_: Request) -> Response:
        return Response(html, media_type="text/html", headers=headers)

    return [Route("/openapi.json", openapi, methods=["GET"]), Route("/docs", docs, methods=["GET"])]


def html_page(document: Mapping[str, Any]) -> str:
    """Render an OpenAPI document as HTML."""
    by_tag: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            by_tag.setdefault(operation["tags"][0], []).append("".join(_operation(path, verb, operation)))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in by_tag.items())
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['summary'])}. "
        f'Machine-readable: <a href="/openapi.json">openapi.json</a>.</p>{body}</html>'
    )


def _operation(path: str, verb: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h3><span class="verb">{verb.upper()}</span> <code>{escape(path)}</code></h3>'
    yield f"<p>{_prose(operation['summary'])}. {_prose(operation.get('description', ''))}</p>"
    bodies = operation.get("requestBody", {}).get("content", {})
    if bodies:
        yield f"<p>Body: {', '.join(f'<code>{escape(media_type)}</code>' for media_type in bodies)}</p>"
        properties = next(iter(bodies.values()))["schema"]["properties"]
        yield "<table><tr><th>Field<th>Values<th>Default<th>"
        for name, schema in properties.items():
            yield (
                f"<tr><td><code>{escape(name)}</code><td>{_values(schema)}<td>{escape(str(schema.get('default', '')))}"
                f"<td>{_prose(schema.get('description', ''))}"
            )
        yield "</table>"
    yield "<table><tr><th>Status<th>Response"
    for status, response in operation["responses"].items():
        types = ", ".join(f"<code>{escape(media_type)}</code>" for media_type in response.get("content", {}))
        yield f"<tr><td>{status}<td>{_prose(response['description'])} {types}"
    yield "</table>"


def _values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("format") == "binary":
        return "a file"
    if "contentEncoding" in schema:
        return "a file in base64"
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("examples", ()))


def _prose(text: str) -> str:
    """Return escaped text with `code` in code elements."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
