"""OpenTelemetry: one span a request, one within it for each stage, sent to a collector. The only place that knows it.

Imported only where ``CLEARCUT_OTEL_ENDPOINT`` is set. Spans get their times from the request's ``RequestTiming`` when
it ends,
so that nothing is done for them while a picture is in work; they leave on a thread of the SDK's own, and are dropped
when the collector does not keep up.
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

_EXPORT_S = 5
_LAST_EXPORT_S = 3.0  # at the end of the process; a collector that hangs must not hold it up


class RequestSpan:
    """The span of one request, from its beginning."""

    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.response = f"00-{self.trace_id}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        """For the traceresponse header (W3C Trace Context, level 2)."""


class Tracer:
    def __init__(self, endpoint: str, sample: float) -> None:
        """
        Args:
            endpoint: of the collector, OTLP over HTTP; ``/v1/traces`` is added where there is no path.
            sample: share of the requests to trace, 0 to 1, of those whose caller did not decide.
        """
        session = requests.Session()
        session.trust_env = False  # a proxy of the environment is not the collector
        where = endpoint.rstrip("/")
        where = where if where.count("/") > 2 else f"{where}/v1/traces"
        # The standard OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say more about who we are.
        own = Resource({"service.name": "clearcut", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)),
            resource=own.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=where, session=session, timeout=_EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("clearcut", __version__)

    def begin(self, method: str, parent: TraceParent | None, state: str = "") -> RequestSpan:
        """Args: state: the caller's tracestate, handed on as it is."""
        context = None
        if parent is not None:
            theirs = SpanContext(
                int(parent.trace_id, 16),
                int(parent.span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(1 if parent.sampled else 0),
                trace_state=TraceState.from_header([state] if state else []),
            )
            context = set_span_in_context(NonRecordingSpan(theirs))
        return RequestSpan(self._tracer.start_span(method, context, SpanKind.SERVER))

    def end(
        self, request: RequestSpan, name: str, trace: RequestTiming, facts: SpanAttributes, fault: str | None
    ) -> None:
        """Close the span of a request, with its stages.

        Args:
            facts: attributes.
            fault: why the request failed for a reason of ours, or None.
        """
        span = request._span
        if not span.is_recording():
            return
        now = time.time_ns()
        begun = now - int(trace.elapsed() * 1e9)
        inside = set_span_in_context(span)
        for stage in trace.moments:
            start = begun + int(stage.begun * 1e9)
            child = self._tracer.start_span(stage.name, inside, start_time=start)
            if stage.note:
                child.set_attribute("clearcut.note", stage.note)
            child.end(start + int(stage.seconds * 1e9))
        span.update_name(name)
        span.set_attributes(facts)
        if fault is not None:
            span.set_status(Status(StatusCode.ERROR, fault))
        span.end(now)

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        last = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _LAST_EXPORT_S)
