"""ASGI middleware around all requests: their context, the headers of every response, charges, and errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearcut.admission.transfers import Transfer
from clearcut.errors import ClearcutError, ClientGone, Draining, InternalError, OutOfMemory
from clearcut.observability.timing import RequestTiming
from clearcut.service import Service
from clearcut.web.apis.base import Dialect, dialect_for_path
from clearcut.web.request.body import Body

from .context import SECURITY_HEADERS, RequestContext, request_id
from .error_response import router_error, send_error
from .health import MONITORING_PATHS
from .rate_limits import rate_limit_headers
from .sync_handler import CutoutRoute, refuse_overload
from .telemetry import begin_trace, record_request, trace_fields

log = logging.getLogger("clearcut")

NO_ROUTES: Mapping[str, CutoutRoute] = MappingProxyType({})
_CHUNK_BYTES = 256 * 1024
_EXACT_PATHS = {*MONITORING_PATHS, "/docs"}
_SECURITY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class RequestMiddleware:
    """The outermost layer: each response has a request id, each error a JSON body, each request a log line."""

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        dialects: Sequence[Dialect],
        cutout_routes: Mapping[str, CutoutRoute] = NO_ROUTES,
        post_paths: Sequence[str] = (),
    ) -> None:
        """
        Args:
            cutout_routes: routes that an overloaded service refuses at once, by path.
            post_paths: paths with a POST route; errors about unknown paths suggest one of them.
        """
        self.post_paths = post_paths
        self.app = app
        self.cutout_routes = cutout_routes
        self.service = service
        self.dialects = dialects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = _without_trailing_slash(scope)
        settings = self.service.settings
        headers = Headers(scope=scope)
        timing = RequestTiming(settings.deadline_s)
        body = Body(receive, settings.body_stall_s, timing.remaining)
        context = RequestContext(request_id(headers), timing, body, dialect_for_path(scope["path"], self.dialects))
        begin_trace(self.service, context, scope, headers)
        context.attach(scope)
        scope["app"] = self  # tells the router to raise its 404 and 405 instead of answering in text/plain
        status = 0
        sent = False
        error: ClearcutError | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                if error is None:
                    await _before_response(context)
                status = message["status"]
                own = {name.lower() for name, _ in message["headers"]}
                common = (header for header in _common_headers(context) if header[0] not in own)
                message["headers"] = [*message["headers"], *common]
                await send(message)
                return
            with self._transfer(context, message) as transfer:
                for chunk in _chunks(message):
                    first = not sent and error is None and len(chunk.get("body", b"")) > 0
                    if first:
                        await _require_client(context)
                    await send(chunk)
                    sent = sent or first
                    if transfer is not None:
                        transfer.sent += len(chunk.get("body", b""))

        try:
            refuse_overload(self.service, scope, self.cutout_routes)
            await self.app(scope, receive, send_with_headers)
        except ClearcutError as exc:
            error = exc
        except HTTPException as exc:
            known = self.post_paths if scope["method"] == "POST" else ()
            error = router_error(exc, scope["path"], known, playground=settings.playground)
        except asyncio.CancelledError:
            # Only a forced exit cancels requests. Do not wait for the rest of the body.
            context.body.complete = True
            error = Draining()
        except MemoryError:
            error = OutOfMemory()
        except Exception:
            names = {"request_id": context.request_id, **trace_fields(context)}
            log.exception("unhandled", extra={"fields": names})
            error = InternalError()
        finally:
            context.resources.close()
        if error is not None:
            if status == 0 and not isinstance(error, ClientGone):
                await send_error(error, context, scope, send_with_headers, max_discard=2 * settings.max_bytes)
            status = context.dialect.status(error)
        for complete in context.on_complete:
            await complete(sent)
        record_request(self.service, context, scope, status, error)

    def _transfer(self, context: RequestContext, message: Message) -> AbstractContextManager[Transfer | None]:
        """Count a large body while it is sent. Raises ClientGone if the transfer is cut off in favor of others."""
        size = len(message.get("body", b""))
        if size <= _CHUNK_BYTES:
            return nullcontext()
        if context.slot is not None:
            context.slot.sending = True
        return self.service.transfers.enter(size)


def _without_trailing_slash(scope: Scope) -> Scope:
    """Return the scope with ``/v1/remove`` for ``/v1/remove/``.

    A redirect would lose the body in some clients. The paths for operators stay exact, because proxies block exact
    paths. ``/docs/`` redirects, because the links of the page are relative.
    """
    path = scope["path"]
    if not path.endswith("/") or not path.strip("/") or path[:-1] in _EXACT_PATHS:
        return scope
    return {**scope, "path": path[:-1], "raw_path": (scope.get("raw_path") or b"").removesuffix(b"/")}


async def _before_response(context: RequestContext) -> None:
    """Charge for a successful response before any of it is sent.

    Raises:
        ClientGone: the client has disconnected; nothing is charged.
        Unavailable: the credit could not be charged.
    """
    for action in context.before_response:
        await _require_client(context)
        await action()


async def _require_client(context: RequestContext) -> None:
    """Raise ClientGone if the client of a charged response has disconnected. The server's ``send`` reports nothing."""
    if context.on_complete and await context.body.is_disconnected():
        raise ClientGone


def _chunks(message: Message) -> Iterable[Message]:
    """Split a large body into chunks, so that a client that reads slowly keeps its request slot.

    The server buffers a chunk of any size at once and waits only before the next one.
    """
    body = message.get("body", b"")
    return (message,) if len(body) <= _CHUNK_BYTES else _split(message, memoryview(body))


def _split(message: Message, view: memoryview) -> Iterator[Message]:
    for start in range(0, len(view), _CHUNK_BYTES):
        chunk = view[start : start + _CHUNK_BYTES]
        more = start + _CHUNK_BYTES < len(view) or message.get("more_body", False)
        yield {"type": "http.response.body", "body": chunk, "more_body": more}


def _common_headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    """Return the headers of every response, which the response may override."""
    limits = rate_limit_headers(context.rate_limits, context.dialect.older_rate_headers)
    return [
        *((name.lower().encode(), value.encode()) for name, value in limits.items()),
        (b"x-request-id", context.request_id.encode()),
        (b"x-processing-time-ms", str(round(context.timing.elapsed() * 1000)).encode()),
        *_SECURITY_HEADERS,
        *([(b"traceresponse", context.span.response.encode())] if context.span is not None else []),
    ]
