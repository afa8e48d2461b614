"""The steps of a job's webhook: create its body, and deliver it. ``webhook.py`` has the delays between attempts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from clearcut.fetch.client import FetchClient
from clearcut.observability.metrics import Metrics

from . import webhook
from .fair_limiter import FairLimiter
from .interruptible_waits import InterruptibleWaits
from .types import JobSpec, JobView, Outcome, message_id, partition_of
from .workflows import StepResult

log = logging.getLogger("clearcut")

MAX_DELIVERIES, MAX_DELIVERIES_PER_ACCOUNT = 32, 8
"""Concurrent webhook deliveries of one process."""

WebhookBody = Callable[[JobView, str | None], dict[str, object]]
"""Creates the body of an API's webhook from the job and the URL of its output."""


class WebhookStep:
    """Sends the webhooks of jobs.

    Args:
        bodies: by API.
        output_url: returns the signed URL of a job's output; None without an output.
        secrets: returns the ``whsec_…`` secrets that sign the webhooks of an account.
    """

    def __init__(
        self,
        waits: InterruptibleWaits,
        fetcher: FetchClient,
        metrics: Metrics,
        bodies: Mapping[str, WebhookBody],
        output_url: Callable[[JobView], str | None],
        secrets: Callable[[str | None], Sequence[str]],
    ) -> None:
        self._waits = waits
        self._fetcher = fetcher
        self._metrics = metrics
        self._bodies = bodies
        self._output_url = output_url
        self._secrets = secrets
        self._slots = FairLimiter(MAX_DELIVERIES, MAX_DELIVERIES_PER_ACCOUNT, reserve=True)

    def body(self, job_id: str, spec: JobSpec, outcome: Outcome) -> dict[str, object]:
        """Create the body of the webhook."""
        view = JobView(job_id, spec, "completed" if outcome.ok else "failed", outcome, "pending")
        return self._bodies[spec.dialect](view, self._output_url(view))

    async def deliver(
        self, job_id: str, spec: JobSpec, outcome: Outcome, body: Mapping[str, object], attempt: int
    ) -> StepResult:
        """Make one attempt to deliver the webhook."""
        async with self._waits.slot(self._slots.slot(partition_of(job_id, spec))):
            delivery = await webhook.deliver(
                self._fetcher, spec.webhook or "", body, message_id=message_id(job_id, outcome),
                secrets=self._secrets(spec.account), account=spec.account,
            )  # fmt: skip
        result = "delivered" if delivery.delivered else "refused" if delivery.status is not None else "unreachable"
        self._metrics.webhook_attempts.labels(result).inc()
        fields = {"job": job_id, "attempt": attempt + 1, "outcome": result, "status": delivery.status}
        log.info("webhook", extra={"fields": fields})
        return {"done": delivery.delivered, **asdict(delivery)}
