"""Traces that a collector receives from the real server."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.support import samples
from tests.support.collector import Collector, collecting
from tests.support.live_server import ROOT, Server, environment, http_client, run_until_exit, served

pytestmark = pytest.mark.live

PNG = samples.png(samples.photo("coffee", 240, 160))
THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
KIND = {"content-type": "image/png"}
STAGES = [
    "read",
    "pool",
    "probe",
    "admission",
    "decode",
    "prepare",
    "queue",
    "inference",
    "refine",
    "compose",
    "encode",
]


@pytest.fixture(scope="module")
def traced() -> tuple[Collector, Server, dict[str, dict[str, str]]]:
    """Run a server and yield the collector, the server, and the response headers by request."""
    headers = {}
    with collecting() as collector, served(otel_endpoint=collector.url) as server, http_client(server) as client:

        def ask(name: str, content: bytes = PNG, path: str = "/v1/remove", **more: str) -> None:
            sent = {**KIND, "x-request-id": name, **more}
            headers[name] = dict(client.post(path, content=content, headers=sent).headers)

        ask("with-parent", traceparent=f"00-{THEIRS}-{PARENT}-01", tracestate="vendor=1")
        ask("alone")
        ask("unsampled", traceparent=f"00-{'1' * 32}-{PARENT}-00")
        ask("malformed", traceparent=f"00-{'0' * 32}-{PARENT}-01")
        ask("odd state", traceparent=f"00-{THEIRS}-{PARENT}-00", tracestate="HIDDEN=from,the caller")
        ask("refused", b"no image")
        ask("variants", path='/v1/remove?variants=[{},{"size":"preview"}]')
        client.get("/livez")
        client.get("/metrics")
        server.stop()
    return collector, server, headers


def trace_of(headers: dict[str, dict[str, str]], name: str) -> str:
    version, trace_id, _, _ = headers[name]["traceresponse"].split("-")
    assert version == "00"
    return trace_id


def test_request_span_joins_trace_of_caller(traced):
    collector, _, headers = traced
    spans = collector.of(THEIRS)
    (root,) = [span for span in spans if span.parent_id == PARENT]
    assert root.name == "POST /v1/remove"
    assert root.kind == 2  # server
    assert root.attributes["clearcut.request_id"] == "with-parent"
    assert root.attributes["http.route"] == "/v1/remove"
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["http.request.body.size"] == len(PNG)
    children = [span for span in spans if span is not root]
    assert {span.parent_id for span in children} == {root.span_id}
    assert {span.name for span in children} == set(STAGES)
    assert next(span for span in children if span.name == "inference").attributes["clearcut.note"].startswith("batch=")
    assert headers["with-parent"]["traceresponse"] == f"00-{THEIRS}-{root.span_id}-01"
    assert root.start < root.end
    # Spans use the wall clock, which may be adjusted meanwhile: order and nesting hold to one millisecond.
    assert all(root.start - 1e6 <= span.start <= span.end <= root.end + 1e6 for span in children)
    order = [span.name for span in sorted(children, key=lambda span: span.start) if span.name != "pool"]
    assert order == [name for name in STAGES if name != "pool"]


def test_missing_or_malformed_traceparent_starts_trace(traced):
    collector, _, headers = traced
    for name in ("alone", "malformed"):
        (root,) = [span for span in collector.of(trace_of(headers, name)) if span.kind == 2]
        assert root.parent_id == ""
        assert root.trace_id != "0" * 32


def test_unsampled_caller_is_respected(traced):
    collector, server, headers = traced
    assert collector.of("1" * 32) == []
    assert headers["unsampled"]["traceresponse"].endswith("-00")
    assert server.event("request", request_id="unsampled")["trace_id"] == "1" * 32


def test_refused_request_span_is_not_failed(traced):
    collector, _, headers = traced
    (root,) = [span for span in collector.of(trace_of(headers, "refused")) if span.kind == 2]
    assert root.attributes["http.response.status_code"] == 400
    assert root.attributes["error.type"] == "unsupported_format"
    assert not root.failed


def test_two_outputs_have_two_stage_spans(traced):
    collector, _, headers = traced
    names = [span.name for span in collector.of(trace_of(headers, "variants"))]
    assert names.count("encode") == 2
    assert names.count("inference") == 1


def test_log_lines_have_trace_id_and_probes_no_trace(traced):
    collector, server, headers = traced
    for name in ("with-parent", "alone", "refused"):
        assert server.event("request", request_id=name)["trace_id"] == trace_of(headers, name)
    assert {span.name for span in collector.spans if span.kind == 2} == {"POST /v1/remove"}


def test_malformed_tracestate_is_dropped(traced):
    _, server, headers = traced
    assert headers["odd state"]["traceresponse"].startswith(f"00-{THEIRS}-")
    assert "HIDDEN" not in str(server.log)


def test_spans_describe_service_and_no_client(traced):
    collector, _, _ = traced
    assert {(each["service.name"]) for each in collector.resources} == {"clearcut"}
    assert set(collector.requests) == {("/v1/traces", "application/x-protobuf")}
    names = {name for span in collector.spans for name in span.attributes}
    assert not [name for name in names if any(word in name for word in ("client", "user", "url", "address", "key"))]


def test_silent_collector_does_not_delay_requests():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with served(otel_endpoint=url) as server, http_client(server) as client:
            assert client.post("/v1/remove", content=PNG, headers=KIND).status_code == 200
            assert server.stop(20) == 0


def test_missing_collector_is_logged():
    with served(otel_endpoint="http://127.0.0.1:1") as server, http_client(server) as client:
        assert client.post("/v1/remove", content=PNG, headers=KIND).status_code == 200
        assert server.stop(20) == 0
    assert not [line for line in server.log if line["event"] == "not json"]
    assert server.errors == []


def test_endpoint_with_password_is_refused():
    done = run_until_exit(otel_endpoint="http://user:canary@collector:4318")
    assert done.returncode == 1
    assert "CLEARCUT_OTEL_ENDPOINT" in done.stderr
    assert "canary" not in done.stderr


def test_disabled_tracing_logs_trace_of_caller(server, client):
    trace = "2" * 32
    response = client.post(
        "/v1/remove", content=PNG, headers={**KIND, "x-request-id": "off-1", "traceparent": f"00-{trace}-{PARENT}-01"}
    )
    assert response.status_code == 200
    assert "traceresponse" not in response.headers
    assert server.event("request", request_id="off-1")["trace_id"] == trace
    code = "import sys; from clearcut.server.runner import run; from clearcut.service import build; "
    code += "from clearcut.settings import Settings; "
    code += "build(Settings()); print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"
