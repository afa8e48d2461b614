"""An OpenTelemetry collector for tests: accepts OTLP over HTTP and stores the spans."""

from __future__ import annotations

import gzip
import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.threaded_server import run_in_thread


@dataclass(slots=True)
class ReceivedSpan:
    """A received span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]


@dataclass(slots=True)
class Collector:
    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(path, content type) of each request."""

    def of(self, trace_id: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]


def _attributes(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.requests.append((self.path, self.headers["content-type"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                collector.resources.append(_attributes(resource.resource.attributes))
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    collector.spans.append(
                        ReceivedSpan(
                            span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.kind,
                            span.start_time_unix_nano, span.end_time_unix_nano, span.status.code == 2,
                            _attributes(span.attributes),
                        )
                    )  # fmt: skip
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    with run_in_thread(server):
        yield collector
