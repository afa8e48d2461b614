"""The metrics, the trace and the log line of a finished request, with a real service and a real collector."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest
from starlette.datastructures import Headers

from clearcut.errors import ClientGone, DeadlineExceeded, InternalError, Overloaded
from clearcut.observability.timing import RequestTiming
from clearcut.web.apis.poof import DIALECT
from clearcut.web.context import RequestContext
from clearcut.web.request.body import Body
from clearcut.web.telemetry import begin_trace, record_request, trace_fields
from tests.support.clock import FakeClock
from tests.support.collector import collecting
from tests.support.fakes import BrightIsSubject, serving

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SCOPE = {"method": "POST", "path": "/v1/remove", "route": SimpleNamespace(path="/v1/remove")}


class Request:
    """A request of 0.3 s that has spent 0.25 s in the stage ``decode``."""

    def __init__(self, **settings: str) -> None:
        self.service = serving(BrightIsSubject(), **settings)
        self.clock = FakeClock()
        timing = RequestTiming(60, self.clock)
        body = Body(asyncio.Event().wait, 10, timing.remaining)
        body.received = 1234
        self.context = RequestContext("req_1", timing, body, DIALECT, output_format="png", log_fields={"megapixels": 2})

    def finish(self, status, error=None, scope=SCOPE):
        with self.context.timing.stage("decode"):
            self.clock.now += 0.25
        self.clock.now += 0.05
        record_request(self.service, self.context, scope, status, error)

    def sample(self, name, **labels):
        return self.service.metrics.registry.get_sample_value(name, labels)


def log_record(caplog):
    (record,) = [each for each in caplog.records if each.getMessage() == "request"]
    return record


@pytest.fixture(autouse=True)
def all_levels(caplog):
    caplog.set_level(logging.DEBUG, "clearcut")


def test_metrics_of_a_successful_request():
    request = Request()
    request.finish(200)
    labels = {"route": "/v1/remove", "status": "200", "code": "ok", "format": "png"}
    assert request.sample("clearcut_requests_total", **labels) == 1
    assert request.sample("clearcut_request_seconds_sum", route="/v1/remove") == pytest.approx(0.3)
    assert request.sample("clearcut_stage_seconds_sum", stage="decode") == pytest.approx(0.25)


def test_log_line_of_a_successful_request(caplog):
    request = Request()
    request.finish(200)
    record = log_record(caplog)
    assert record.levelno == logging.INFO
    assert record.fields == {
        "request_id": "req_1", "method": "POST", "route": "/v1/remove", "status": 200, "code": "ok", "ms": 300.0,
        "bytes_in": 1234, "megapixels": 2, "stages_ms": {"decode": 250.0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "name", "labels"),
    [
        (Overloaded(retry_after=1), "clearcut_rejected_total", {"reason": "overloaded"}),
        (ClientGone(), "clearcut_cancelled_total", {"stage": "decode"}),
        (DeadlineExceeded("queue"), "clearcut_expired_total", {"stage": "queue"}),
    ],
)
def test_error_is_counted_by_its_cause(error, name, labels, caplog):
    request = Request()
    request.finish(error.status, error)
    names = ("clearcut_rejected_total", "clearcut_cancelled_total", "clearcut_expired_total")
    counted = [
        (sample.name, sample.labels)
        for family in request.service.metrics.registry.collect()
        for sample in family.samples
        if sample.name in names and sample.value
    ]
    assert counted == [(name, labels)]
    fields = log_record(caplog).fields
    assert (fields["status"], fields["code"], fields["reason"], fields["stage"]) == (
        error.status, error.code, error.reason, "decode",
    )  # fmt: skip


@pytest.mark.parametrize(("status", "level"), [(200, logging.DEBUG), (404, logging.INFO)])
def test_successful_probes_are_logged_at_debug_level(status, level, caplog):
    request = Request()
    record_request(request.service, request.context, {"method": "GET", "path": "/livez"}, status, None)
    record = log_record(caplog)
    assert (record.levelno, record.fields["route"]) == (level, "none")
    assert "stages_ms" not in record.fields


def traceparent(flags="01"):
    return Headers({"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})


@pytest.mark.parametrize(
    ("headers", "trace_id"), [(traceparent(), TRACE), (Headers({"traceparent": "invalid"}), ""), (Headers(), "")]
)
def test_trace_of_the_client_is_logged(headers, trace_id, caplog):
    request = Request()
    begin_trace(request.service, request.context, SCOPE, headers)
    request.finish(200)
    assert request.context.span is None
    assert trace_fields(request.context) == ({"trace_id": trace_id} if trace_id else {})
    assert log_record(caplog).fields.get("trace_id", "") == trace_id


@pytest.mark.parametrize(
    ("error", "status", "failed"), [(None, 200, False), (Overloaded(), 503, True), (InternalError(), 500, True)]
)
def test_span_joins_the_trace_of_the_client(error, status, failed):
    with collecting() as collector:
        request = Request(otel_endpoint=collector.url)
        begin_trace(request.service, request.context, SCOPE, traceparent())
        request.finish(status, error)
        asyncio.run(request.service.tracer.close())
        stage, span = sorted(collector.of(TRACE), key=lambda each: each.parent_id == SPAN)
    assert (span.name, span.parent_id, span.failed) == ("POST /v1/remove", SPAN, failed)
    assert (stage.name, stage.parent_id) == ("decode", span.span_id)
    expected = {
        "http.request.method": "POST", "http.route": "/v1/remove", "http.response.status_code": status,
        "http.request.body.size": 1234, "clearcut.request_id": "req_1", "clearcut.format": "png",
        "clearcut.code": error.code if error else "ok",
    }  # fmt: skip
    assert span.attributes == expected | ({"error.type": error.reason} if error else {})


def test_probes_have_no_span():
    with collecting() as collector:
        request = Request(otel_endpoint=collector.url)
        scope = {"method": "GET", "path": "/livez"}
        begin_trace(request.service, request.context, scope, traceparent())
        record_request(request.service, request.context, scope, 200, None)
        asyncio.run(request.service.tracer.close())
    assert (collector.spans, request.context.trace_id) == ([], TRACE)
