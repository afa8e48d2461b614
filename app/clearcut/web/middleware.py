"""Around every request: its id, its clock, its error body, its headers, its metrics and its log line. Pure ASGI."""

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

from .auth import rate_headers
from .context import GUARDS, RequestContext, request_id

log = logging.getLogger("clearcut")

_DISCARD_S = 10.0
_PIECE_BYTES = 256 * 1024
_UNTRACED = {"/livez", "/readyz", "/metrics"}
_GUARDS = [(name.lower().encode(), value.encode()) for name, value in GUARDS.items()]
_AT_THE_DOOR = (AuthenticationError, PaymentRequired, PermissionDenied, RateLimited)


class RequestMiddleware:
    """Outermost: nothing that happens inside leaves without a request id, a JSON error and a log line."""

    def __init__(self, app: ASGIApp, service: Service, dialects: Sequence[Dialect]) -> None:
        self.app = app
        self.service = service
        self.dialects = dialects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        settings = self.service.settings
        headers = Headers(scope=scope)
        trace = RequestTiming(settings.deadline_s)
        body = Body(receive, settings.body_stall_s, trace.remaining)
        exchange = RequestContext(request_id(headers), trace, body, dialect_for_path(scope["path"], self.dialects))
        self._place_in_trace(exchange, scope, headers)
        scope["clearcut.exchange"] = exchange
        scope["app"] = self  # tells the router to raise its 404 and 405 instead of answering in text/plain
        status = 0
        sent = False
        error: ClearcutError | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                if error is None:
                    await _before_response(exchange)
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                marks = (mark for mark in _marks(exchange) if mark[0] not in given)
                message["headers"] = [*message["headers"], *marks]
            with self._transfer(exchange, message) as transfer:
                for piece in _pieces(message):
                    first = not sent and error is None and len(piece.get("body", b"")) > 0
                    if first:
                        await _require_client(exchange)
                    await send(piece)
                    sent = sent or first
                    transfer.sent += len(piece.get("body", b""))

        try:
            await self.app(scope, receive, send_marked)
        except ClearcutError as exc:
            error = exc
        except HTTPException as exc:
            error = _framework_error(exc)
        except asyncio.CancelledError:
            # Only a forced exit cancels requests. Say so, and do not wait for the rest of the body.
            exchange.body.complete = True
            error = Draining()
        except MemoryError:
            error = OutOfMemory()
        except Exception:
            names = {"request_id": exchange.request_id, **_in_trace(exchange)}
            log.exception("unhandled", extra={"fields": names})
            error = InternalError()
        finally:
            exchange.held.close()
        if error is not None:
            if status == 0 and not isinstance(error, ClientGone):
                await self._refuse(error, exchange, headers, send_marked)
            status = exchange.dialect.status(error)
        for close in exchange.closers:
            await close(sent)
        self._account(scope, exchange, status, error)

    @contextmanager
    def _transfer(self, exchange: RequestContext, message: Message) -> Iterator[Transfer]:
        """Count a large body while it is sent. Raises ClientGone: it is cut off for others."""
        size = len(message.get("body", b""))
        if size <= _PIECE_BYTES:
            yield Transfer(size)
            return
        if exchange.place is not None:
            exchange.place.sending = True
        with self.service.transfers.enter(size) as transfer:
            yield transfer

    async def _refuse(self, error: ClearcutError, exchange: RequestContext, headers: Headers, send: Send) -> None:
        """Send the error; if the body is still on its way, take it in for a while so that the peer gets to read us."""
        dialect = exchange.dialect
        payload = json.dumps(dialect.error_body(error, exchange.request_id)).encode()
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        if error.retry_after is not None:
            fields.append((b"retry-after", str(error.retry_after).encode()))
        fields += [(name.encode(), value.encode()) for name, value in error.headers.items()]
        body = exchange.body
        bodiless = "content-length" not in headers and "transfer-encoding" not in headers
        unread = not (body.complete or bodiless or headers.get("content-length") == "0")
        if unread and "Connection" not in error.headers:
            fields.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": dialect.status(error), "headers": fields})
        await send({"type": "http.response.body", "body": payload, "more_body": unread})
        if unread:
            # A peer that waits for 100 Continue has sent nothing and will not: there is nothing to take in.
            if headers.get("expect", "").lower() != "100-continue" or body.received:
                await body.discard(2 * self.service.settings.max_bytes, _DISCARD_S)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _place_in_trace(self, exchange: RequestContext, scope: Scope, headers: Headers) -> None:
        parent = parse_traceparent(headers.getlist("traceparent"))
        spans = self.service.tracer
        if spans is not None and scope["path"] not in _UNTRACED:
            exchange.span = spans.begin(scope["method"], parent, ",".join(headers.getlist("tracestate")))
            exchange.trace_id = exchange.span.trace_id
        elif parent is not None:
            exchange.trace_id = parent.trace_id

    def _end_span(self, exchange: RequestContext, line: dict[str, Any], error: ClearcutError | None) -> None:
        if self.service.tracer is None or exchange.span is None:
            return
        attributes = {
            "http.request.method": line["method"],
            "http.route": line["route"],
            "http.response.status_code": line["status"],
            "http.request.body.size": line["bytes_in"],
            "clearcut.request_id": exchange.request_id,
            "clearcut.code": line["code"],
            "clearcut.format": exchange.format,
        }
        if error is not None:
            attributes["error.type"] = error.reason
        fault = error.reason if error is not None and line["status"] >= 500 else None
        self.service.tracer.end(exchange.span, f"{line['method']} {line['route']}", exchange.trace, attributes, fault)

    def _account(self, scope: Scope, exchange: RequestContext, status: int, error: ClearcutError | None) -> None:
        metrics, trace = self.service.metrics, exchange.trace
        route = getattr(scope.get("route"), "path", "none")
        code = error.code if error is not None else "ok"
        seconds = trace.elapsed()
        metrics.requests.labels(route, str(status), code, exchange.format).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        for stage in trace.stages:
            metrics.stage_seconds.labels(stage.name).observe(stage.seconds)
        if isinstance(error, (Unavailable, *_AT_THE_DOOR)):
            metrics.rejected.labels(error.reason).inc()
        elif isinstance(error, ClientGone):
            metrics.cancelled.labels(trace.current).inc()
        elif isinstance(error, DeadlineExceeded):
            metrics.expired.labels(error.stage).inc()
        line = {
            "request_id": exchange.request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "code": code,
            "ms": round(seconds * 1000, 2),
            "bytes_in": exchange.body.received,
            **_in_trace(exchange),
            **exchange.facts,
        }
        if error is not None:
            line |= {"reason": error.reason, "stage": trace.current}
        if trace.stages:
            line["stages_ms"] = {stage.name: round(stage.seconds * 1000, 2) for stage in trace.stages}
        self._end_span(exchange, line, error)
        quiet = status < 400 and not trace.stages  # probes and scrapes
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": line})


async def _before_response(exchange: RequestContext) -> None:
    """Charge for a successful response before any of it is sent.

    Raises:
        ClientGone: the client has disconnected; nothing is charged.
        Unavailable: the credit could not be charged.
    """
    for action in exchange.before_response:
        await _require_client(exchange)
        await action()


async def _require_client(exchange: RequestContext) -> None:
    """Raise ClientGone if the client of a charged response has disconnected. The server's ``send`` reports nothing."""
    if exchange.closers and await exchange.body.gone():
        raise ClientGone


def _pieces(message: Message) -> Iterator[Message]:
    """A message; a large body piece by piece, so that a peer that reads slowly holds its place in the house.

    The server takes a piece of any size into its buffer at once, and makes us wait only before the next one.
    """
    body = message.get("body", b"")
    if message["type"] != "http.response.body" or len(body) <= _PIECE_BYTES:
        yield message
        return
    view = memoryview(body)
    for start in range(0, len(view), _PIECE_BYTES):
        piece = view[start : start + _PIECE_BYTES]
        more = start + _PIECE_BYTES < len(view) or message.get("more_body", False)
        yield {"type": "http.response.body", "body": piece, "more_body": more}


def _framework_error(exc: HTTPException) -> ClearcutError:
    """The router's own refusals, as ours."""
    if exc.status_code == 405:
        return MethodNotAllowed((exc.headers or {}).get("Allow", ""))
    return RouteNotFound("See /docs for the routes of this service")


def _in_trace(exchange: RequestContext) -> dict[str, str]:
    """For log lines."""
    return {"trace_id": exchange.trace_id} if exchange.trace_id else {}


def _marks(exchange: RequestContext) -> list[tuple[bytes, bytes]]:
    """Headers that every answer carries, unless it has its own."""
    limits = rate_headers(exchange.standings, exchange.dialect.older_rate_headers)
    return [
        *((name.lower().encode(), value.encode()) for name, value in limits.items()),
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-processing-time-ms", str(round(exchange.trace.elapsed() * 1000)).encode()),
        *_GUARDS,
        *([(b"traceresponse", exchange.span.response.encode())] if exchange.span is not None else []),
    ]
