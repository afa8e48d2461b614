"""Telemetry of each request: its trace, its metrics and its access log line."""

from __future__ import annotations

import logging
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from clearcut.errors import (
    AuthenticationError,
    ClearcutError,
    ClientGone,
    DeadlineExceeded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from clearcut.observability.timing import parse_traceparent
from clearcut.service import Service

from .context import RequestContext
from .health import MONITORING_PATHS

log = logging.getLogger("clearcut")

_REJECTED = (AuthenticationError, PaymentRequired, PermissionDenied, RateLimited, Unavailable)
"""Errors that the metric of rejected requests counts, by reason."""


def begin_trace(service: Service, context: RequestContext, scope: Scope, headers: Headers) -> None:
    """Start the span of a request, in the trace of the client if it names one."""
    parent = parse_traceparent(headers.getlist("traceparent"))
    tracer = service.tracer
    if tracer is not None and scope["path"] not in MONITORING_PATHS:
        context.span = tracer.begin(scope["method"], parent, ",".join(headers.getlist("tracestate")))
        context.trace_id = context.span.trace_id
    elif parent is not None:
        context.trace_id = parent.trace_id


def trace_fields(context: RequestContext) -> dict[str, str]:
    """Return the fields of log lines that name the trace."""
    return {"trace_id": context.trace_id} if context.trace_id else {}


def record_request(
    service: Service, context: RequestContext, scope: Scope, status: int, error: ClearcutError | None
) -> None:
    """Update the metrics, end the span and write the access log line of a finished request."""
    route = getattr(scope.get("route"), "path", "none")
    code = error.code if error is not None else "ok"
    seconds = context.timing.elapsed()
    _update_metrics(service, context, (route, str(status), code), seconds, error)
    line = {
        "request_id": context.request_id,
        "method": scope["method"],
        "route": route,
        "status": status,
        "code": code,
        "ms": round(seconds * 1000, 2),
        "bytes_in": context.body.received,
        **trace_fields(context),
        **context.log_fields,
    }
    timing = context.timing
    if error is not None:
        line |= {"reason": error.reason, "stage": timing.current}
    if timing.stages:
        line["stages_ms"] = {stage.name: round(stage.seconds * 1000, 2) for stage in timing.stages}
    _end_span(service, context, line, error)
    quiet = status < 400 and not timing.stages  # probes and scrapes
    log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": line})


def _update_metrics(
    service: Service,
    context: RequestContext,
    labels: tuple[str, str, str],
    seconds: float,
    error: ClearcutError | None,
) -> None:
    """Update the metrics.

    Args:
        labels: route, status and code.
        seconds: duration of the request.
    """
    metrics, timing = service.metrics, context.timing
    metrics.requests.labels(*labels, context.output_format).inc()
    metrics.request_seconds.labels(labels[0]).observe(seconds)
    for stage in timing.stages:
        metrics.stage_seconds.labels(stage.name).observe(stage.seconds)
    if isinstance(error, _REJECTED):
        metrics.rejected.labels(error.reason).inc()
    elif isinstance(error, ClientGone):
        metrics.cancelled.labels(timing.current).inc()
    elif isinstance(error, DeadlineExceeded):
        metrics.expired.labels(error.stage).inc()


def _end_span(service: Service, context: RequestContext, line: dict[str, Any], error: ClearcutError | None) -> None:
    """End the span with the values of the access log line."""
    if service.tracer is None or context.span is None:
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
    service.tracer.end(context.span, f"{line['method']} {line['route']}", context.timing, attributes, failure)
