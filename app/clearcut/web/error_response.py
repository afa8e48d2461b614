"""Responses to requests that end with an error: the body is JSON in the form of the dialect."""

from __future__ import annotations

import json
import math

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope, Send

from clearcut.errors import ClearcutError, MethodNotAllowed, RouteNotFound

from .context import RequestContext, route_hint

UNREAD_BODIES = "clearcut.unread_bodies"
"""ASGI extension of a server that drops the rest of a request body after the response and keeps the connection."""
_DISCARD_S = 10.0
"""Seconds for which the rest of a request body is discarded."""


async def send_error(
    error: ClearcutError, context: RequestContext, scope: Scope, send: Send, *, max_discard: int
) -> None:
    """Send the error. The rest of the request body is then dropped, so that a client that sends it reads the error.

    A server with the extension ``UNREAD_BODIES`` drops it and keeps the connection, if the body is not too large.
    Otherwise the body is discarded here for a while, and the connection closes.

    Args:
        scope: of the request.
        max_discard: maximum number of bytes to discard.
    """
    headers = Headers(scope=scope)
    dialect = context.dialect
    payload = json.dumps(dialect.error_body(error, context.request_id, context.field_names)).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    if error.retry_after is not None:
        fields.append((b"retry-after", str(error.retry_after).encode()))
    fields += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    body = context.body
    bodiless = "content-length" not in headers and "transfer-encoding" not in headers
    unread = not (body.complete or bodiless or headers.get("content-length") == "0")
    keeps = UNREAD_BODIES in scope.get("extensions", {}) and _body_size(headers) <= max_discard
    unread = unread and (not keeps or "Connection" in error.headers)
    if unread and "Connection" not in error.headers:
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": dialect.status(error), "headers": fields})
    await send({"type": "http.response.body", "body": payload, "more_body": unread})
    if unread:
        # A client that waits for 100 Continue sends no body.
        if headers.get("expect", "").lower() != "100-continue" or body.received:
            await body.discard(max_discard, _DISCARD_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _body_size(headers: Headers) -> float:
    """Return the Content-Length; infinity for a chunked body."""
    size = headers.get("content-length", "")
    return int(size) if size.isascii() and size.isdigit() else math.inf


def router_error(exc: HTTPException, *, playground: bool) -> ClearcutError:
    """Convert an error of the router.

    Args:
        playground: whether the service has the page at ``/``.
    """
    if exc.status_code == 405:
        return MethodNotAllowed((exc.headers or {}).get("Allow", ""))
    return RouteNotFound(route_hint(playground=playground))
