"""Responses to requests that end with an error: the body is JSON in the form of the dialect."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope, Send

from clearcut.errors import ClearcutError, MethodNotAllowed, RouteNotFound

from .context import RequestContext, route_hint
from .request.body import declared_size

UNREAD_BODIES = "clearcut.unread_bodies"
"""ASGI extension of a server that drops the rest of a request body after the response and keeps the connection."""
_DISCARD_S = 10.0
"""Seconds for which the rest of a request body is discarded."""


async def send_error(
    error: ClearcutError, context: RequestContext, scope: Scope, send: Send, *, max_discard: int
) -> None:
    """Send the error and drop the rest of the request body: a client that still sends it can then read the error.

    A server with the extension ``UNREAD_BODIES`` drops a body of at most ``max_discard`` bytes after the response and
    keeps the connection. Otherwise this function discards the body for a limited time, and the connection closes.

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
    size = declared_size(headers)
    has_body = size != 0 and (size is not None or "transfer-encoding" in headers)
    unread = has_body and not body.complete
    closing = "Connection" in error.headers  # the upload stopped, or the server is shutting down
    discard = unread
    if unread and not closing and UNREAD_BODIES in scope.get("extensions", {}) and size is not None:
        discard = size > max_discard
        if not discard:
            body.received = size  # for the log line, which is written before the server drops the rest
    if discard and not closing:
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": dialect.status(error), "headers": fields})
    await send({"type": "http.response.body", "body": payload, "more_body": discard})
    if discard:
        # A client that waits for 100 Continue sends no body.
        if headers.get("expect", "").lower() != "100-continue" or body.received:
            await body.discard(max_discard, _DISCARD_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


_MAX_COMPARED_CHARS = 100
"""Characters of an unknown path that are compared with the known paths."""


def router_error(exc: HTTPException, path: str, known: Sequence[str], *, playground: bool) -> ClearcutError:
    """Convert an error of the router.

    Args:
        path: of the request.
        known: paths with a route for the method of the request.
        playground: whether the service has the page at ``/``.
    """
    if exc.status_code == 405:
        return MethodNotAllowed((exc.headers or {}).get("Allow", ""))
    nearest = difflib.get_close_matches(path[:_MAX_COMPARED_CHARS].lower(), known, n=1)
    return RouteNotFound(route_hint(playground=playground, nearest="".join(nearest)))
