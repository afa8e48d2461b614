"""Responses to requests that end with an error: the body is JSON in the form of the dialect."""

from __future__ import annotations

import json

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Send

from clearcut.errors import ClearcutError, MethodNotAllowed, RouteNotFound

from .context import RequestContext, route_hint

_DISCARD_S = 10.0
"""Seconds for which the rest of a request body is discarded."""


async def send_error(
    error: ClearcutError, context: RequestContext, headers: Headers, send: Send, *, max_discard: int
) -> None:
    """Send the error. Then discard the rest of the request body for a while, so that the client reads the error.

    Args:
        headers: of the request.
        max_discard: maximum number of bytes to discard.
    """
    dialect = context.dialect
    payload = json.dumps(dialect.error_body(error, context.request_id, context.field_names)).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    if error.retry_after is not None:
        fields.append((b"retry-after", str(error.retry_after).encode()))
    fields += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    body = context.body
    bodiless = "content-length" not in headers and "transfer-encoding" not in headers
    unread = not (body.complete or bodiless or headers.get("content-length") == "0")
    if unread and "Connection" not in error.headers:
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": dialect.status(error), "headers": fields})
    await send({"type": "http.response.body", "body": payload, "more_body": unread})
    if unread:
        # A client that waits for 100 Continue sends no body.
        if headers.get("expect", "").lower() != "100-continue" or body.received:
            await body.discard(max_discard, _DISCARD_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def router_error(exc: HTTPException, *, playground: bool) -> ClearcutError:
    """Convert an error of the router.

    Args:
        playground: whether the service has the page at ``/``.
    """
    if exc.status_code == 405:
        return MethodNotAllowed((exc.headers or {}).get("Allow", ""))
    return RouteNotFound(route_hint(playground=playground))
