"""The work of each step of a job. After a crash a step may run again; it then has the same effect."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from clearcut.accounts.service import AccountService
from clearcut.errors import ClearcutError, InternalError, MissingImage, ModerationRefused, Unavailable
from clearcut.observability.metrics import Metrics
from clearcut.storage.base import BlobStore

from . import webhook
from .cutout_step import CutoutStep
from .fetch_step import FetchStep
from .interruptible_waits import InterruptibleWaits
from .types import LEASE_S, JobSpec, Moderation, Outcome, input_key, job_charge, outcome_to_json
from .webhook_step import WebhookStep
from .workflows import StepResult

log = logging.getLogger("clearcut")

MAX_STARTS = 20
"""Maximum number of starts of one job. A job that ends the process more often fails."""
MAX_INTERNAL_ERRORS = 3
"""Maximum number of attempts at an image that causes an internal error."""


class JobSteps:
    """The steps of all jobs of a service. An error of a step becomes the outcome of its job.

    Args:
        waits: the waits of all steps.
        ttl_s: lifetime of stored outputs in seconds.
        on_finished: called with the processing time of each finished job, in seconds.
    """

    def __init__(
        self,
        fetch_step: FetchStep,
        cutout_step: CutoutStep,
        webhook_step: WebhookStep,
        waits: InterruptibleWaits,
        accounts: AccountService,
        blobs: BlobStore,
        metrics: Metrics,
        ttl_s: float,
        on_finished: Callable[[float], None],
    ) -> None:
        self._fetch_step = fetch_step
        self._cutout_step = cutout_step
        self._webhook_step = webhook_step
        self._waits = waits
        self._accounts = accounts
        self._blobs = blobs
        self._metrics = metrics
        self._ttl_s = ttl_s
        self._on_finished = on_finished

    def cancel_idle(self) -> None:
        """Cancel all steps that only wait."""
        self._waits.cancel_all()

    async def reserve(self, job_id: str, spec: JobSpec) -> StepResult:
        """Renew the reservation of the job's credits. A retried job makes a new one."""
        charge = job_charge(job_id, spec)
        if charge is None or not self._accounts.enabled:
            return {}
        try:
            await self._waits.retry(lambda: self._accounts.job_charges.reserve(charge, LEASE_S))
        except ClearcutError as exc:
            return _failure(exc, spec)
        return {}

    async def fetch(self, job_id: str, spec: JobSpec) -> StepResult:
        """Download the image into the store, unless it was sent with the request."""
        if spec.url is None:
            return {}
        try:
            return {"bytes": await self._fetch_step.run(job_id, spec, spec.url)}
        except ClearcutError as exc:
            return _failure(exc, spec)
        except Exception:  # the job must still return its credits and send its webhook
            log.exception("image of a job could not be fetched", extra={"fields": {"job": job_id}})
            return _failure(InternalError(), spec)

    async def process(self, job_id: str, spec: JobSpec, starts: int) -> StepResult:
        """Make the cut-out and store it.

        Args:
            starts: how often the job was started, this start included.
        """
        if starts > MAX_STARTS:
            log.error("job failed after too many starts", extra={"fields": {"job": job_id}})
            return _failure(InternalError(), spec)
        for _ in range(MAX_INTERNAL_ERRORS):
            try:
                return outcome_to_json(await self._waits.retry(lambda: self._cutout_step.run(job_id, spec)))
            except KeyError:
                return _failure(MissingImage("The image expired before the job was processed"), spec)
            except InternalError:
                log.warning("job failed with an internal error", extra={"fields": {"job": job_id}})
            except ClearcutError as exc:
                return _failure(exc, spec)
            except Exception:
                log.exception("job failed", extra={"fields": {"job": job_id}})
        return _failure(InternalError(), spec)

    async def finish(self, job_id: str, spec: JobSpec, outcome: Outcome) -> None:
        """Settle the credits, delete the input, update metrics and log.

        The input of a failed job stays stored for as long as outputs, for a retry.
        """
        charge = job_charge(job_id, spec)
        if charge is not None and self._accounts.enabled:
            await self._waits.retry(lambda: self._accounts.job_charges.settle(charge, outcome.ok), math.inf)
        try:
            await asyncio.to_thread(self._release_input, input_key(job_id, spec), outcome.ok)
        except (Unavailable, OSError):
            log.warning("input of a job was not deleted and will expire", extra={"fields": {"job": job_id}})
        seconds = outcome.finished - spec.accepted
        self._metrics.jobs.labels(spec.dialect, "completed" if outcome.ok else outcome.reason).inc()
        self._metrics.job_seconds.observe(max(0.0, seconds))
        self._on_finished(outcome.seconds)
        fields = {
            "job": job_id, "dialect": spec.dialect, "request_id": spec.request_id, "ok": outcome.ok,
            "reason": outcome.reason, "seconds": round(seconds, 3), "work_ms": round(outcome.seconds * 1000, 2),
        }  # fmt: skip
        log.info("job", extra={"fields": fields | ({"account": spec.account} if spec.account else {})})

    def _release_input(self, key: str, succeeded: bool) -> None:
        """Delete an input, or shorten its lifetime after a failure. Blocks. Raises OSError, Unavailable."""
        if succeeded:
            self._blobs.delete(key)
            return
        with suppress(KeyError):  # the input was never stored
            blob = self._blobs.get(key)
            self._blobs.put(key, blob.data, blob.stat.media_type, time.time() + self._ttl_s)

    async def webhook_body(self, job_id: str, spec: JobSpec, outcome: Outcome) -> dict[str, object]:
        """Create the body of the webhook. It is recorded, so that all attempts send the same body."""
        return self._webhook_step.body(job_id, spec, outcome)

    async def deliver(
        self, job_id: str, spec: JobSpec, outcome: Outcome, body: Mapping[str, object], attempt: int
    ) -> StepResult:
        """Make one attempt to deliver the webhook."""
        return await self._webhook_step.deliver(job_id, spec, outcome, body, attempt)

    def webhook_delays(self) -> Iterable[float]:
        """Return the seconds before each further attempt at a webhook."""
        return webhook.retry_delays()


def _failure(error: ClearcutError, spec: JobSpec) -> StepResult:
    """Return the stored outcome of a failed job."""
    message = error.describe({"image": spec.field}) or error.message
    refused: Moderation | None = "refused" if isinstance(error, ModerationRefused) else None
    outcome = Outcome(False, time.time(), moderation=refused, status=error.status, reason=error.reason, message=message)
    return outcome_to_json(outcome)
