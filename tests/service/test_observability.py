import asyncio
import io
import json
import logging

from clearcut.observability.logging import JsonFormatter
from tests.support.cutouts import sample_image
from tests.support.fakes import Stage, on_stage

SERIES = (
    "clearcut_requests_total", "clearcut_request_seconds_bucket", "clearcut_stage_seconds_bucket",
    "clearcut_queue_depth", "clearcut_queue_capacity", "clearcut_slots", "clearcut_slots_used",
    "clearcut_inflight_pixels", "clearcut_inflight_pixels_capacity", "clearcut_rejected_total",
    "clearcut_input_megapixels_count", "clearcut_input_bytes_count", "clearcut_output_bytes_count", "clearcut_ready",
    "clearcut_model_info", "clearcut_build_info", "clearcut_event_loop_lag_seconds", "process_resident_memory_bytes",
    "process_open_fds",
)  # fmt: skip


def test_all_series_have_values_after_traffic():
    async def scenario(on: Stage):
        await on.post(sample_image(), format="webp")
        await on.post(b"nothing like an image")
        on.engine.gate.clear()
        on.engine.entered.clear()
        busy = asyncio.create_task(on.post(sample_image()))
        await asyncio.to_thread(on.engine.entered.wait, 10)
        await on.post(sample_image())
        on.engine.gate.set()
        await busy
        return await on.client.get("/metrics")

    response = on_stage(scenario, slots="1")
    text = response.text
    assert response.headers["content-type"].startswith("text/plain")
    for name in SERIES:
        assert f"\n{name}" in text, name
    assert 'clearcut_requests_total{code="ok",format="webp",route="/v1/remove",status="200"} 1.0' in text
    assert 'code="validation_error",format="none",route="/v1/remove",status="400"} 1.0' in text
    assert 'clearcut_rejected_total{reason="overloaded"} 1.0' in text
    for stage in ("read", "probe", "decode", "prepare", "queue", "inference", "refine", "compose", "encode"):
        assert f'clearcut_stage_seconds_count{{stage="{stage}"}}' in text


def test_openmetrics_on_request():
    async def scenario(on: Stage):
        return await on.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})

    response = on_stage(scenario)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_raw_paths_never_become_labels():
    async def scenario(on: Stage):
        await on.client.get("/secret/path")
        return await on.client.get("/metrics")

    text = on_stage(scenario).text
    assert "secret" not in text
    assert 'route="none",status="404"' in text


def test_log_line_has_no_names_keys_or_queries():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("clearcut")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def scenario(on: Stage):
        return await on.client.post(
            "/v1/remove?size=small&secret-query=1",
            files={"image_file": ("secret-name.png", sample_image())},
            headers={"x-api-key": "secret-key", "x-request-id": "abc.1"},
        )

    try:
        on_stage(scenario)
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    request = next(line for line in lines if line["event"] == "request")
    assert request["request_id"] == "abc.1"
    assert request["status"] == 200
    assert request["route"] == "/v1/remove"
    assert request["stages_ms"]["inference"] >= 0
    assert "secret" not in stream.getvalue()
