"""ASGI middleware around all requests: request id, timing, error bodies, headers, metrics and the access log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearcut.admission.transfers import Transfer
from clearcut.errors import (
    AuthenticationError,
    ClearcutError,
    ClientGone,
    DeadlineExceeded,
    Draining,
    InternalError,
    MethodNotAllowed,
    OutOfMemory,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    RouteNotFound,
    Unavailable,
)
from clearcut.observability.timing import RequestTiming, parse_traceparent
from clearcut.service import Service
from clearcut.web.apis.base import Dialect, dialect_for_path
from clearcut.web.request.body import Body

from .auth import rate_limit_headers
from .context import SECURITY_HEADERS, RequestContext, request_id, route_hint

log = logging.getLogger("clearcut")

_DISCARD_S = 10.0
_CHUNK_BYTES = 256 * 1024
_UNTRACED = {"/livez", "/readyz", "/health", "/metrics"}
_EXACT = {*_UNTRACED, "/docs"}
_SECURITY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_ADMISSION_ERRORS = (AuthenticationError, PaymentRequired, PermissionDenied, RateLimited)


class RequestMiddleware:
    """The outermost layer: each response has a request id, each error a JSON body, each request a log line."""

    def __init__(self, app: ASGIApp, service: Service, dialects: Sequence[Dialect]) -> None:
        self.app = app
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
        self._join_trace(context, scope, headers)
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
            with self._transfer(context, message) as transfer:
                for chunk in _chunks(message):
                    first = not sent and error is None and len(chunk.get("body", b"")) > 0
                    if first:
                        await _require_client(context)
                    await send(chunk)
                    sent = sent or first
                    transfer.sent += len(chunk.get("body", b""))

        try:
            await self.app(scope, receive, send_with_headers)
        except ClearcutError as exc:
            error = exc
        except HTTPException as exc:
            error = _framework_error(exc, playground=settings.playground)
        except asyncio.CancelledError:
            # Only a forced exit cancels requests. Do not wait for the rest of the body.
            context.body.complete = True
            error = Draining()
        except MemoryError:
            error = OutOfMemory()
        except Exception:
            names = {"request_id": context.request_id, **_in_trace(context)}
            log.exception("unhandled", extra={"fields": names})
            error = InternalError()
        finally:
            context.resources.close()
        if error is not None:
            if status == 0 and not isinstance(error, ClientGone):
                await self._refuse(error, context, headers, send_with_headers)
            status = context.dialect.status(error)
        for complete in context.on_complete:
            await complete(sent)
        self._record(scope, context, status, error)

    @contextmanager
    def _transfer(self, context: RequestContext, message: Message) -> Iterator[Transfer]:
        """Count a large body while it is sent. Raises ClientGone if the transfer is cut off in favor of others."""
        size = len(message.get("body", b""))
        if size <= _CHUNK_BYTES:
            yield Transfer(size)
            return
        if context.slot is not None:
            context.slot.sending = True
        with self.service.transfers.enter(size) as transfer:
            yield transfer

    async def _refuse(self, error: ClearcutError, context: RequestContext, headers: Headers, send: Send) -> None:
        """Send the error. Then discard the rest of the request body for a while, so that the client reads the error."""
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
                await body.discard(2 * self.service.settings.max_bytes, _DISCARD_S)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _join_trace(self, context: RequestContext, scope: Scope, headers: Headers) -> None:
        parent = parse_traceparent(headers.getlist("traceparent"))
        spans = self.service.tracer
        if spans is not None and scope["path"] not in _UNTRACED:
            context.span = spans.begin(scope["method"], parent, ",".join(headers.getlist("tracestate")))
            context.trace_id = context.span.trace_id
        elif parent is not None:
            context.trace_id = parent.trace_id

    def _end_span(self, context: RequestContext, line: dict[str, Any], error: ClearcutError | None) -> None:
        if self.service.tracer is None or context.span is None:
            return
        attributes = {
            "http.request.method": line["method"],
            "http.route": line["route"],
            "http.response.status_code": line["status"],
            "http.request.body.size": line["bytes_in"],
            "clearcut.request_id": context.request_id,
            "clearcut.code": line["code"],
            "clearcut.format": context.output_format,
        }
        if error is not None:
            attributes["error.type"] = error.reason
        failure = error.reason if error is not None and line["status"] >= 500 else None
        self.service.tracer.end(context.span, f"{line['method']} {line['route']}", context.timing, attributes, failure)

    def _record(self, scope: Scope, context: RequestContext, status: int, error: ClearcutError | None) -> None:
        metrics, timing = self.service.metrics, context.timing
        route = getattr(scope.get("route"), "path", "none")
        code = error.code if error is not None else "ok"
        seconds = timing.elapsed()
        metrics.requests.labels(route, str(status), code, context.output_format).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        for stage in timing.stages:
            metrics.stage_seconds.labels(stage.name).observe(stage.seconds)
        if isinstance(error, (Unavailable, *_ADMISSION_ERRORS)):
            metrics.rejected.labels(error.reason).inc()
        elif isinstance(error, ClientGone):
            metrics.cancelled.labels(timing.current).inc()
        elif isinstance(error, DeadlineExceeded):
            metrics.expired.labels(error.stage).inc()
        line = {
            "request_id": context.request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "code": code,
            "ms": round(seconds * 1000, 2),
            "bytes_in": context.body.received,
            **_in_trace(context),
            **context.log_fields,
        }
        if error is not None:
            line |= {"reason": error.reason, "stage": timing.current}
        if timing.stages:
            line["stages_ms"] = {stage.name: round(stage.seconds * 1000, 2) for stage in timing.stages}
        self._end_span(context, line, error)
        quiet = status < 400 and not timing.stages  # probes and scrapes
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": line})


def _without_trailing_slash(scope: Scope) -> Scope:
    """Return the scope with ``/v1/remove`` for ``/v1/remove/``.

    A redirect would lose the body in some clients. The paths for operators stay exact, because proxies block exact
    paths. ``/docs/`` redirects, because the links of the page are relative.
    """
    path = scope["path"]
    if not path.endswith("/") or not path.strip("/") or path[:-1] in _EXACT:
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


def _chunks(message: Message) -> Iterator[Message]:
    """Split a large body into chunks, so that a client that reads slowly keeps its request slot.

    The server buffers a chunk of any size at once and waits only before the next one.
    """
    body = message.get("body", b"")
    if message["type"] != "http.response.body" or len(body) <= _CHUNK_BYTES:
        yield message
        return
    view = memoryview(body)
    for start in range(0, len(view), _CHUNK_BYTES):
        chunk = view[start : start + _CHUNK_BYTES]
        more = start + _CHUNK_BYTES < len(view) or message.get("more_body", False)
        yield {"type": "http.response.body", "body": chunk, "more_body": more}


def _framework_error(exc: HTTPException, *, playground: bool) -> ClearcutError:
    """Convert an error of the router.

    Args:
        playground: whether the service has the page at ``/``.
    """
    if exc.status_code == 405:
        return MethodNotAllowed((exc.headers or {}).get("Allow", ""))
    return RouteNotFound(route_hint(playground=playground))


def _in_trace(context: RequestContext) -> dict[str, str]:
    """For log lines."""
    return {"trace_id": context.trace_id} if context.trace_id else {}


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
