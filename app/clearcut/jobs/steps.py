"""What a job does, step by step. Every step may be done again after a crash, and then comes to the same."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from functools import partial

from clearcut.accounts.service import AccountService
from clearcut.cutout import CutoutRequest
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
from .interruptible import JITTER, PATIENCE_S, InterruptibleSteps
from .models import (
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
from .throttle import JobThrottle
from .workflows import ATTEMPTS, Step

log = logging.getLogger("clearcut")

LEASE_S = 7 * 86_400
"""How long a job's credits stay reserved, and its input stored, while it waits, seconds."""
FETCH_PAUSES = (1.0, 4.0, 15.0)
"""Between attempts at an address whose server is at fault, seconds."""
FETCH_PATIENCE_S = 25.0
"""After this long no further attempt begins: a server that lets all wait must not hold the places of other jobs."""
FAULTS = 3
"""Attempts at a picture that makes an error of ours."""
FETCHES_AT_ONCE, ACCOUNT_FETCHES = 32, 8
"""Images being fetched: of one process, and of one account in it. Each may be as large as an upload."""
HOOKS_AT_ONCE, ACCOUNT_HOOKS = 32, 8
"""Webhooks being delivered: of one process, and of one account in it."""

Payload = Callable[[JobView, str | None], dict[str, object]]
"""(the job, the address of its output) to a dialect's webhook."""


class JobSteps(InterruptibleSteps):
    """The steps of every job of one service.

    Args:
        payloads: by dialect.
        link: the signed address of a job's output; None where it has none.
        hook_secrets: the ``whsec_…`` secrets that sign the webhooks of an account.
        on_done: told of each job that is done: seconds of work.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        access: AccountService,
        blobs: BlobStore,
        fetcher: FetchClient,
        metrics: Metrics,
        lane: JobThrottle,
        ttl_s: float,
        payloads: Mapping[str, Payload],
        link: Callable[[JobView], str | None],
        hook_secrets: Callable[[str | None], Sequence[str]],
        on_done: Callable[[float], None],
    ) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._access = access
        self._blobs = blobs
        self._fetcher = fetcher
        self._metrics = metrics
        self._lane = lane
        self._ttl_s = ttl_s
        self._payloads = payloads
        self._link = link
        self._hook_secrets = hook_secrets
        self._on_done = on_done
        self._fetches = FairLimiter(FETCHES_AT_ONCE, ACCOUNT_FETCHES, reserve=True)
        self._hooks = FairLimiter(HOOKS_AT_ONCE, ACCOUNT_HOOKS, reserve=True)

    def delays(self) -> Sequence[float]:
        return list(webhook.retry_delays())

    async def hold(self, job_id: str, order: JobSpec) -> Step:
        """The reservation made at the door is renewed; a job that is tried again makes another."""
        charge = job_charge(job_id, order)
        if charge is None or not self._access.enabled:
            return {}
        try:
            await self._persist(lambda: self._access.reserve_for_job(charge, LEASE_S))
        except ClearcutError as exc:
            return _failed(exc, order)
        return {}

    async def fetch(self, job_id: str, order: JobSpec) -> Step:
        """The picture into the store, unless it was sent with the order."""
        if order.url is None:
            return {}
        try:
            async with AsyncExitStack() as places:  # until the image is stored and no longer in memory
                with self._waiting():
                    await places.enter_async_context(self._fetches.place(partition_of(job_id, order)))
                data = await self._fetched(order.url)
                expires_at = time.time() + max(LEASE_S, self._ttl_s)
                put = partial(self._blobs.put, input_key(job_id, order), data, "application/octet-stream", expires_at)
                await self._persist(lambda: asyncio.to_thread(put))
        except ClearcutError as exc:
            return _failed(exc, order)
        except Exception:  # a job that ended here would neither give back its credits nor call its webhook
            log.exception("a job's picture could not be fetched", extra={"fields": {"job": job_id}})
            return _failed(InternalError(), order)
        return {"bytes": len(data)}

    async def process(self, job_id: str, order: JobSpec, attempt: int) -> Step:
        """The cut-out into the store."""
        if attempt > ATTEMPTS:
            log.error("a job is given up: it was begun too often", extra={"fields": {"job": job_id}})
            return _failed(InternalError(), order)
        for _ in range(FAULTS):
            try:
                return outcome_to_json(await self._persist(lambda: self._within_quota(job_id, order)))
            except KeyError:
                return _failed(MissingImage("The image expired before the job was processed"), order)
            except InternalError:
                log.warning("a job met a fault of ours", extra={"fields": {"job": job_id}})
            except ClearcutError as exc:
                return _failed(exc, order)
            except Exception:
                log.exception("a job failed", extra={"fields": {"job": job_id}})
        return _failed(InternalError(), order)

    async def close(self, job_id: str, order: JobSpec, outcome: Outcome) -> None:
        """Settle credits, drop the input, count and log. A failed job's input stays for a retry, as long as outputs."""
        charge = job_charge(job_id, order)
        if charge is not None and self._access.enabled:
            await self._persist(lambda: self._access.settle_job(charge, outcome.ok), math.inf)
        try:
            await asyncio.to_thread(self._drop_input, input_key(job_id, order), outcome.ok)
        except (Unavailable, OSError):
            log.warning("a job's picture is left to expire", extra={"fields": {"job": job_id}})
        waited = outcome.finished - order.accepted
        self._metrics.jobs.labels(order.dialect, "completed" if outcome.ok else outcome.reason).inc()
        self._metrics.job_seconds.observe(max(0.0, waited))
        self._on_done(outcome.seconds)
        fields = {
            "job": job_id, "dialect": order.dialect, "request_id": order.request_id, "ok": outcome.ok,
            "reason": outcome.reason, "seconds": round(waited, 3), "work_ms": round(outcome.seconds * 1000, 2),
        }  # fmt: skip
        log.info("job", extra={"fields": fields | ({"account": order.account} if order.account else {})})

    def _drop_input(self, key: str, done: bool) -> None:
        """Delete an input, or shorten its time. Blocks. Raises OSError, Unavailable."""
        if done:
            self._blobs.delete(key)
            return
        with suppress(KeyError):  # it was never stored
            blob = self._blobs.get(key)
            self._blobs.put(key, blob.data, blob.stat.media_type, time.time() + self._ttl_s)

    async def compose(self, job_id: str, order: JobSpec, outcome: Outcome) -> dict[str, object]:
        """The webhook's body, once: every attempt sends the same."""
        view = JobView(job_id, order, "completed" if outcome.ok else "failed", outcome, "pending")
        return self._payloads[order.dialect](view, self._link(view))

    async def deliver(
        self, job_id: str, order: JobSpec, outcome: Outcome, payload: Mapping[str, object], attempt: int
    ) -> Step:
        async with AsyncExitStack() as places:
            with self._waiting():
                await places.enter_async_context(self._hooks.place(partition_of(job_id, order)))
            made = await webhook.deliver(
                self._fetcher, order.webhook or "", payload, message_id=message_id(job_id, outcome),
                secrets=self._hook_secrets(order.account), account=order.account,
            )  # fmt: skip
        result = "delivered" if made.delivered else "refused" if made.status is not None else "unreachable"
        self._metrics.webhook_attempts.labels(result).inc()
        fields = {"job": job_id, "attempt": attempt + 1, "outcome": result, "status": made.status}
        log.info("webhook", extra={"fields": fields})
        return {"done": made.delivered, **asdict(made)}

    async def _within_quota(self, job_id: str, order: JobSpec) -> Outcome:
        """Wait while the account's quota of megapixels is exceeded, then do the work.

        Raises:
            RateLimited: the quota was exceeded for ``PATIENCE_S``.
            KeyError, ClearcutError: as ``_cut_out``.
        """
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await self._cut_out(job_id, order)
            except RateLimited as exc:
                if exc.retry_after is None or time.monotonic() + exc.retry_after > until:
                    raise
                seconds = exc.retry_after
            await self._pause(seconds)

    async def _cut_out(self, job_id: str, order: JobSpec) -> Outcome:
        """One attempt; the picture is in memory only while its job is one of those at work.

        Raises:
            KeyError: the picture has expired.
            RateLimited: the account's quota of megapixels is exceeded.
            ClearcutError: as the pipeline and the store raise.
        """
        counted = order.account is not None and self._access.enabled
        account = await self._access.find(order.account or "") if counted else None
        count = self._access.quotas.megapixels(account)

        async def measured(pixels: int) -> None:
            standing = await count.count(pixels)
            if standing is not None and standing.exceeded:
                raise RateLimited(f"At most {standing.quota} megapixels a minute", retry_after=standing.reset_s)

        async with AsyncExitStack() as places:
            with self._waiting():
                turn = await places.enter_async_context(self._lane.place(partition_of(job_id, order)))
            data = (await asyncio.to_thread(self._blobs.get, input_key(job_id, order))).data
            begun = time.monotonic()
            result = await self._pipeline.remove(
                CutoutRequest(data, (order.options,), moderate=order.moderate),
                RequestTiming(PATIENCE_S),
                measured,
                turn,
            )
            seconds = time.monotonic() - begun
        image = result.outputs[0].image
        key = output_key(job_id, order, image.format)
        put = partial(self._blobs.put, key, image.data, image.media_type, time.time() + self._ttl_s)
        await self._persist(lambda: asyncio.to_thread(put))
        moderated = self._pipeline.engine.moderator is not None
        moderation: Moderation | None = ("passed" if moderated else "not run") if order.moderate else None
        return Outcome(
            True, time.time(), seconds, key, image.media_type, image.width, image.height, moderation=moderation
        )

    async def _fetched(self, url: str) -> bytearray:
        until = time.monotonic() + FETCH_PATIENCE_S
        for pause in (*FETCH_PAUSES, None):
            try:
                return (await self._fetcher.get(url, role="image")).data
            except FetchFailed as exc:
                if pause is None or not exc.temporary or time.monotonic() + (1 + JITTER) * pause > until:
                    raise
                await self._pause(pause)
        raise AssertionError


def _failed(error: ClearcutError, order: JobSpec) -> Step:
    public = error.describe({"image": order.field}) or error.message
    refused: Moderation | None = "refused" if isinstance(error, ModerationRefused) else None
    found = Outcome(False, time.time(), moderation=refused, status=error.status, reason=error.reason, message=public)
    return outcome_to_json(found)
