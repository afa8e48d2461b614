"""OpenTelemetry traces: one span for each request, and one child span for each stage.

This module is imported only if ``CLEARCUT_OTEL_ENDPOINT`` is set. Spans are created from the request's
``RequestTiming`` after the request, so they cost nothing during processing. A thread of the SDK sends them, and drops
them if the collector is too slow.
"""

from __future__ import annotations

import asyncio
import threading
import time

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from clearcut import __version__

from .timing import RequestTiming, TraceParent

SpanAttributes = dict[str, str | int | float | bool]

_EXPORT_TIMEOUT_S = 5
_LAST_EXPORT_TIMEOUT_S = 3.0
"""Time for the last export. A collector that hangs must not delay the end of the process."""


class RequestSpan:
    """The span of a request."""

    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.response = f"00-{self.trace_id}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        """Value of the ``traceresponse`` header (W3C Trace Context, level 2)."""


class Tracer:
    """Creates spans and sends them to a collector."""

    def __init__(self, endpoint: str, sample: float) -> None:
        """
        Args:
            endpoint: URL of the collector, for OTLP over HTTP. ``/v1/traces`` is added to a URL without a path.
            sample: share of requests to trace, 0 to 1, among those without a sampling decision of the client.
        """
        session = requests.Session()
        session.trust_env = False  # ignore proxies of the environment
        url = endpoint.rstrip("/")
        url = url if url.count("/") > 2 else f"{url}/v1/traces"
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES can replace these attributes.
        resource = Resource({"service.name": "clearcut", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)),
            resource=resource.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=url, session=session, timeout=_EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("clearcut", __version__)

    def begin(self, method: str, parent: TraceParent | None, state: str = "") -> RequestSpan:
        """Start the span of a request.

        Args:
            method: the HTTP method, the first name of the span.
            parent: trace and span of the client.
            state: the ``tracestate`` of the client.
        """
        context = None
        if parent is not None:
            parent_context = SpanContext(
                int(parent.trace_id, 16),
                int(parent.span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(1 if parent.sampled else 0),
                trace_state=TraceState.from_header([state] if state else []),
            )
            context = set_span_in_context(NonRecordingSpan(parent_context))
        return RequestSpan(self._tracer.start_span(method, context, SpanKind.SERVER))

    def end(
        self, request: RequestSpan, name: str, timing: RequestTiming, attributes: SpanAttributes, error: str | None
    ) -> None:
        """End the span of a request and add the spans of its stages.

        Args:
            request: the span.
            name: final name of the span.
            timing: stages of the request.
            attributes: of the span.
            error: reason of a server error, or None.
        """
        span = request._span
        if not span.is_recording():
            return
        now = time.time_ns()
        begun = now - int(timing.elapsed() * 1e9)
        context = set_span_in_context(span)
        for stage in timing.intervals:
            start = begun + int(stage.begun * 1e9)
            child = self._tracer.start_span(stage.name, context, start_time=start)
            if stage.note:
                child.set_attribute("clearcut.note", stage.note)
            child.end(start + int(stage.seconds * 1e9))
        span.update_name(name)
        span.set_attributes(attributes)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(now)

    async def close(self) -> None:
        """Send the remaining spans, for a few seconds at most."""
        last = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _LAST_EXPORT_TIMEOUT_S)
