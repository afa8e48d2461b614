"""The state of one request and its response."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from clearcut.accounts.rate_limits import RateLimitStatus
from clearcut.admission.slots import RequestSlot
from clearcut.errors import ClientGone
from clearcut.observability.timing import RequestTiming
from clearcut.web.apis.base import Dialect
from clearcut.web.request.body import Body

if TYPE_CHECKING:
    from clearcut.observability.tracing import RequestSpan

T = TypeVar("T")

CSP_NONE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content-Security-Policy that allows a page to load, send and embed nothing."""

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": CSP_NONE,
}
"""Headers of every response that does not set its own."""

_SCOPE_KEY = "clearcut.context"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class RequestContext:
    """The state of one request, from its first byte to the end of its response."""

    request_id: str
    timing: RequestTiming
    body: Body
    dialect: Dialect
    output_format: str = "none"
    """Output format, for metrics."""
    trace_id: str = ""
    """Id of the service's trace or of the caller's: 32 hexadecimal digits; empty without a trace."""
    span: RequestSpan | None = None
    log_fields: dict[str, Any] = field(default_factory=dict)
    """Further fields of the access log line: numbers and the service's own words, nothing from the caller."""
    field_names: dict[str, str] = field(default_factory=dict)
    """The fields that this request uses, by role or option; for error bodies."""
    rate_limits: list[RateLimitStatus] = field(default_factory=list)
    """The caller's rate limits, for response headers."""
    before_response: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Callbacks before a successful response starts, while the client is connected; may raise ClearcutError."""
    on_complete: list[Callable[[bool], Awaitable[None]]] = field(default_factory=list)
    """Callbacks at the end; the argument is whether part of a successful response's body was sent."""
    slot: RequestSlot | None = None
    """The request slot, if the request has one."""
    resources: ExitStack = field(default_factory=ExitStack)
    """Slots and counters of the request; closed when the whole response is in the socket's buffer."""

    def attach(self, scope: Any) -> None:
        """Store the context in an ASGI scope."""
        scope[_SCOPE_KEY] = self

    @staticmethod
    def of(request: Request) -> RequestContext:
        """Return the context of a request."""
        context: RequestContext = request.scope[_SCOPE_KEY]
        return context

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` and cancel it if the client disconnects. The request body must be complete.

        Raises:
            ClientGone: the connection closed first.
        """
        task = asyncio.current_task()
        gone = False

        async def cancel_when_gone() -> None:
            nonlocal gone
            await self.body.wait_disconnect()
            gone = True
            if task is not None:
                task.cancel()

        watcher = asyncio.create_task(cancel_when_gone())
        try:
            result = await work
        except (asyncio.CancelledError, Exception):  # ``work`` can replace the cancellation by another error
            if not gone or (task is not None and task.uncancel() > 0):  # above 0: the server cancelled the request
                raise
            raise ClientGone from None
        finally:
            watcher.cancel()
        if gone:
            if task is not None:
                task.uncancel()
            raise ClientGone
        return result


def route_hint(*, playground: bool, nearest: str = "") -> str:
    """Return the text of a 404 that names the service's pages, and the nearest path if there is one."""
    suggestion = f"; did you mean {nearest}? Otherwise, " if nearest else "; "
    page = "open / for the page in a browser, or " if playground else "open "
    return f"The path does not exist{suggestion}{page}/docs for the API"


def request_id(headers: Mapping[str, str]) -> str:
    """Return the client's X-Request-ID if it is safe to echo and to log, or else a new id."""
    client_id = headers.get("x-request-id", "")
    return client_id if _REQUEST_ID.fullmatch(client_id) else "req_" + secrets.token_urlsafe(12)
