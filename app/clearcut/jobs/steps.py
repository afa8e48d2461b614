"""The work of each step of a job. After a crash a step may run again; it then has the same effect."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from functools import partial

from clearcut.accounts.service import AccountService
from clearcut.cutout_types import CutoutRequest
from clearcut.errors import (
    ClearcutError,
    FetchFailed,
    InternalError,
    MissingImage,
    ModerationRefused,
    RateLimited,
    Unavailable,
)
from clearcut.fetch.client import FetchClient
from clearcut.observability.metrics import Metrics
from clearcut.observability.timing import RequestTiming
from clearcut.pipeline import Pipeline
from clearcut.storage.base import BlobStore

from . import webhook
from .fair_limiter import FairLimiter
from .interruptible import JITTER, RETRY_TIMEOUT_S, InterruptibleSteps
from .throttle import JobThrottle
from .types import (
    JobSpec,
    JobView,
    Moderation,
    Outcome,
    input_key,
    job_charge,
    message_id,
    outcome_to_json,
    output_key,
    partition_of,
)
from .workflows import StepResult

log = logging.getLogger("clearcut")

LEASE_S = 7 * 86_400
"""Seconds for which a waiting job's credits stay reserved and its input stays stored."""
FETCH_RETRY_DELAYS = (1.0, 4.0, 15.0)
"""Seconds before each further attempt at a URL after a temporary failure of its server."""
FETCH_RETRY_WINDOW_S = 25.0
"""Seconds after which no further attempt starts, so that a slow server does not occupy slots of other jobs."""
MAX_STARTS = 20
"""Maximum number of starts of one job. A job that ends the process more often fails."""
MAX_INTERNAL_ERRORS = 3
"""Maximum number of attempts at an image that causes an internal error."""
MAX_FETCHES, MAX_FETCHES_PER_ACCOUNT = 32, 8
"""Concurrent image downloads of one process. Each may occupy as much memory as an upload."""
MAX_DELIVERIES, MAX_DELIVERIES_PER_ACCOUNT = 32, 8
"""Concurrent webhook deliveries of one process."""

WebhookBody = Callable[[JobView, str | None], dict[str, object]]
"""Creates the body of an API's webhook from the job and the URL of its output."""


class JobSteps(InterruptibleSteps):
    """The steps of all jobs of a service.

    Args:
        ttl_s: lifetime of stored outputs in seconds.
        webhook_bodies: by API.
        output_url: returns the signed URL of a job's output; None without an output.
        webhook_secrets: returns the ``whsec_…`` secrets that sign the webhooks of an account.
        on_finished: called with the processing time of each finished job, in seconds.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        accounts: AccountService,
        blobs: BlobStore,
        fetcher: FetchClient,
        metrics: Metrics,
        throttle: JobThrottle,
        ttl_s: float,
        webhook_bodies: Mapping[str, WebhookBody],
        output_url: Callable[[JobView], str | None],
        webhook_secrets: Callable[[str | None], Sequence[str]],
        on_finished: Callable[[float], None],
    ) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._accounts = accounts
        self._blobs = blobs
        self._fetcher = fetcher
        self._metrics = metrics
        self._throttle = throttle
        self._ttl_s = ttl_s
        self._webhook_bodies = webhook_bodies
        self._output_url = output_url
        self._webhook_secrets = webhook_secrets
        self._on_finished = on_finished
        self._fetches = FairLimiter(MAX_FETCHES, MAX_FETCHES_PER_ACCOUNT, reserve=True)
        self._deliveries = FairLimiter(MAX_DELIVERIES, MAX_DELIVERIES_PER_ACCOUNT, reserve=True)

    def webhook_delays(self) -> Iterable[float]:
        """Return the seconds before each further attempt at a webhook."""
        return webhook.retry_delays()

    async def reserve(self, job_id: str, spec: JobSpec) -> StepResult:
        """Renew the reservation of the job's credits. A retried job makes a new one."""
        charge = job_charge(job_id, spec)
        if charge is None or not self._accounts.enabled:
            return {}
        try:
            await self._retry(lambda: self._accounts.reserve_for_job(charge, LEASE_S))
        except ClearcutError as exc:
            return _failure(exc, spec)
        return {}

    async def fetch(self, job_id: str, spec: JobSpec) -> StepResult:
        """Download the image into the store, unless it was sent with the request."""
        if spec.url is None:
            return {}
        try:
            async with AsyncExitStack() as slots:  # held until the image is stored and no longer in memory
                with self._interruptible():
                    await slots.enter_async_context(self._fetches.slot(partition_of(job_id, spec)))
                data = await self._download(spec.url)
                expires_at = time.time() + max(LEASE_S, self._ttl_s)
                put = partial(self._blobs.put, input_key(job_id, spec), data, "application/octet-stream", expires_at)
                await self._retry(lambda: asyncio.to_thread(put))
        except ClearcutError as exc:
            return _failure(exc, spec)
        except Exception:  # the job must still return its credits and send its webhook
            log.exception("image of a job could not be fetched", extra={"fields": {"job": job_id}})
            return _failure(InternalError(), spec)
        return {"bytes": len(data)}

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
                return outcome_to_json(await self._retry(lambda: self._within_quota(job_id, spec)))
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
            await self._retry(lambda: self._accounts.settle_job(charge, outcome.ok), math.inf)
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
        view = JobView(job_id, spec, "completed" if outcome.ok else "failed", outcome, "pending")
        return self._webhook_bodies[spec.dialect](view, self._output_url(view))

    async def deliver(
        self, job_id: str, spec: JobSpec, outcome: Outcome, body: Mapping[str, object], attempt: int
    ) -> StepResult:
        """Make one attempt to deliver the webhook."""
        async with AsyncExitStack() as slots:
            with self._interruptible():
                await slots.enter_async_context(self._deliveries.slot(partition_of(job_id, spec)))
            delivery = await webhook.deliver(
                self._fetcher, spec.webhook or "", body, message_id=message_id(job_id, outcome),
                secrets=self._webhook_secrets(spec.account), account=spec.account,
            )  # fmt: skip
        result = "delivered" if delivery.delivered else "refused" if delivery.status is not None else "unreachable"
        self._metrics.webhook_attempts.labels(result).inc()
        fields = {"job": job_id, "attempt": attempt + 1, "outcome": result, "status": delivery.status}
        log.info("webhook", extra={"fields": fields})
        return {"done": delivery.delivered, **asdict(delivery)}

    async def _within_quota(self, job_id: str, spec: JobSpec) -> Outcome:
        """Make the cut-out; wait first while the account's megapixel quota is exceeded.

        Raises:
            RateLimited: the quota was exceeded for ``RETRY_TIMEOUT_S``.
            KeyError, ClearcutError: as ``_cut_out``.
        """
        until = time.monotonic() + RETRY_TIMEOUT_S
        while True:
            try:
                return await self._cut_out(job_id, spec)
            except RateLimited as exc:
                if exc.retry_after is None or time.monotonic() + exc.retry_after > until:
                    raise
                seconds = exc.retry_after
            await self._sleep(seconds)

    async def _cut_out(self, job_id: str, spec: JobSpec) -> Outcome:
        """Make the cut-out and store it. The image is in memory only while the job holds a slot.

        Raises:
            KeyError: the input has expired.
            RateLimited: the account's megapixel quota is exceeded.
            ClearcutError: as the pipeline and the store raise.
        """
        counted = spec.account is not None and self._accounts.enabled
        account = await self._accounts.find(spec.account or "") if counted else None
        megapixels = self._accounts.quotas.megapixels(account)

        async def count_pixels(pixels: int) -> None:
            status = await megapixels.count(pixels)
            if status is not None and status.exceeded:
                raise RateLimited(f"At most {status.quota} megapixels a minute", retry_after=status.reset_s)

        async with AsyncExitStack() as slots:
            with self._interruptible():
                stage_gate = await slots.enter_async_context(self._throttle.slot(partition_of(job_id, spec)))
            data = (await asyncio.to_thread(self._blobs.get, input_key(job_id, spec))).data
            started = time.monotonic()
            request = CutoutRequest(data, (spec.options,), model=spec.served_model, moderate=spec.moderate)
            result = await self._pipeline.remove(request, RequestTiming(RETRY_TIMEOUT_S), count_pixels, stage_gate)
            seconds = time.monotonic() - started
        image = result.outputs[0].image
        key = output_key(job_id, spec, image.format)
        put = partial(self._blobs.put, key, image.data, image.media_type, time.time() + self._ttl_s)
        await self._retry(lambda: asyncio.to_thread(put))
        return Outcome(
            True, time.time(), seconds, key, image.media_type, image.width, image.height,
            moderation=result.moderation, model=result.model,
        )  # fmt: skip

    async def _download(self, url: str) -> bytearray:
        """Download an image; retry temporary failures."""
        until = time.monotonic() + FETCH_RETRY_WINDOW_S
        for delay in (*FETCH_RETRY_DELAYS, None):
            try:
                return (await self._fetcher.get(url, role="image")).data
            except FetchFailed as exc:
                if delay is None or not exc.temporary or time.monotonic() + (1 + JITTER) * delay > until:
                    raise
                await self._sleep(delay)
        raise AssertionError


def _failure(error: ClearcutError, spec: JobSpec) -> StepResult:
    """Return the stored outcome of a failed job."""
    message = error.describe({"image": spec.field}) or error.message
    refused: Moderation | None = "refused" if isinstance(error, ModerationRefused) else None
    outcome = Outcome(False, time.time(), moderation=refused, status=error.status, reason=error.reason, message=message)
    return outcome_to_json(outcome)
