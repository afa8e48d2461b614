"""One request and its answer as the web room sees them: who it is, how it goes, what to say of it in the log."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
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

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""What a page of ours may load, send and be framed by."""

GUARDS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": NOTHING}
"""Headers of every answer: it is the caller's alone, and a browser should make nothing of it but what it says it is."""

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class RequestContext:
    request_id: str
    trace: RequestTiming
    body: Body
    dialect: Dialect
    format: str = "none"
    """Output format, for the metrics."""
    trace_id: str = ""
    """Of the trace that it belongs to: ours, or else the caller's; 32 hexadecimal digits, or empty."""
    span: RequestSpan | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """Further keys of the access log line: numbers and our own words only."""
    field_names: dict[str, str] = field(default_factory=dict)
    """The fields that this request uses, by role or option; for error bodies."""
    standings: list[RateLimitStatus] = field(default_factory=list)
    """Where the caller stands with its limits."""
    before_response: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Called before a successful response starts, while the client is connected; may raise ClearcutError."""
    closers: list[Callable[[bool], Awaitable[None]]] = field(default_factory=list)
    """Called at the end, with whether part of a successful response's body was sent."""

    place: RequestSlot | None = None
    """The request's slot."""
    held: ExitStack = field(default_factory=ExitStack)
    """Places in the house, given back when the answer has been handed to the socket."""

    @staticmethod
    def of(request: Request) -> RequestContext:
        exchange: RequestContext = request.scope["clearcut.exchange"]
        return exchange

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` as long as the peer is there to hear of it; to be called once the body is complete.

        Raises:
            ClientGone: the connection closed first; the work was cancelled.
        """
        task = asyncio.create_task(work)
        watcher = asyncio.create_task(self.body.disconnected())
        try:
            await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if watcher.done() or not task.done():
                raise ClientGone
            return task.result()
        finally:
            for each in (task, watcher):
                if not each.done():
                    each.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await each


def request_id(headers: Mapping[str, str]) -> str:
    """The client's own id when it is harmless to echo and to log, else ``req_`` and 16 random URL-safe characters."""
    own = headers.get("x-request-id", "")
    return own if _CLIENT_ID.fullmatch(own) else "req_" + secrets.token_urlsafe(12)
