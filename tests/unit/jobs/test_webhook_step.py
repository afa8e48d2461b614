"""The steps of a webhook, delivered to a real server."""

from __future__ import annotations

import asyncio
import base64
import json
import socket

import pytest
from standardwebhooks.webhooks import Webhook

from clearcut.fetch.client import FetchClient
from clearcut.fetch.policy import FetchPolicy, HostRule
from clearcut.imaging.options import RemoveOptions
from clearcut.jobs.interruptible_waits import InterruptibleWaits
from clearcut.jobs.types import JobSpec, Outcome
from clearcut.jobs.webhook_step import WebhookStep
from clearcut.observability.metrics import Metrics
from tests.support.http_servers import serving

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
DONE = Outcome(True, 5.0, output="job.png", media_type="image/png")
FAILED = Outcome(False, 5.0, status=422, reason="corrupt_image", message="Cannot read the image")


def spec(url):
    return JobSpec(
        dialect="apiframe", options=RemoveOptions(), field="image", accepted=0.0, base="http://clearcut",
        request_id="req", fingerprint=64 * "0", account="a" * 12, webhook=url,
    )  # fmt: skip


def new_step(metrics, *allowed):
    fetcher = FetchClient(FetchPolicy(allow=allowed))
    bodies = {"apiframe": lambda job, url: {"id": job.id, "state": job.state, "url": url}}
    return WebhookStep(
        InterruptibleWaits(), fetcher, metrics, bodies,
        output_url=lambda job: f"http://clearcut/{job.outcome.output}" if job.outcome.ok else None,
        secrets=lambda account: [SECRET] if account == "a" * 12 else [],
    )  # fmt: skip


def attempts(metrics, outcome):
    return metrics.registry.get_sample_value("clearcut_webhook_attempts_total", {"outcome": outcome})


def deliver(outcome, status):
    """Deliver to a server that responds with ``status``. Returns the result, the metrics and the received request."""
    metrics, received = Metrics(), []

    async def answer(head, reader, writer):
        lines = dict(line.split(": ", 1) for line in head.decode().rstrip().split("\r\n")[1:])
        headers = {name.lower(): value for name, value in lines.items()}
        received.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)

    async def run():
        async with serving(answer) as (port, _):
            step = new_step(metrics, HostRule("127.0.0.1", port=port))
            job = spec(f"http://127.0.0.1:{port}/hook")
            return await step.deliver("job", job, outcome, step.body("job", job, outcome), 0)

    return asyncio.run(run()), metrics, received


@pytest.mark.parametrize(
    ("outcome", "body", "message"),
    [
        (DONE, {"id": "job", "state": "completed", "url": "http://clearcut/job.png"}, "job"),
        (FAILED, {"id": "job", "state": "failed", "url": None}, "job-failed"),
    ],
)
def test_signed_body_of_the_api_is_delivered(outcome, body, message):
    result, metrics, ((headers, data),) = deliver(outcome, 204)
    assert (result["done"], result["status"], result["error"]) == (True, 204, None)
    assert headers["webhook-id"] == message
    assert headers["webhook-account"] == "a" * 12
    assert Webhook(SECRET).verify(data, headers) == body == json.loads(data)
    assert attempts(metrics, "delivered") == 1


def test_other_status_is_a_refused_attempt():
    result, metrics, received = deliver(DONE, 500)
    assert (result["done"], result["status"], len(received)) == (False, 500, 1)
    assert (attempts(metrics, "refused"), attempts(metrics, "delivered")) == (1, None)


@pytest.mark.parametrize("allowed", [True, False])
def test_unreachable_receiver_is_recorded(allowed, caplog):
    """Nothing listens on the port, or the rules for URLs do not allow it."""
    caplog.set_level("INFO", "clearcut")
    metrics = Metrics()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        step = new_step(metrics, *([HostRule("127.0.0.1", port=port)] if allowed else []))
        job = spec(f"http://127.0.0.1:{port}/hook")
        result = asyncio.run(step.deliver("job", job, DONE, {}, 2))
    assert (result["done"], result["status"]) == (False, None)
    assert result["error"]
    assert attempts(metrics, "unreachable") == 1
    (record,) = [each for each in caplog.records if each.getMessage() == "webhook"]
    assert record.fields == {"job": "job", "attempt": 3, "outcome": "unreachable", "status": None}
