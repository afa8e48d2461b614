"""The jobs of a service: starts, stops and connects the parts of this package."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from clearcut.accounts.keys import Account
from clearcut.accounts.service import AccountService
from clearcut.admission.slots import Slots
from clearcut.errors import StartupError, Unavailable, missing_extra
from clearcut.fetch.client import FetchClient
from clearcut.fetch.policy import fetch_policy
from clearcut.observability.metrics import Metrics
from clearcut.pipeline import Pipeline
from clearcut.settings import Settings
from clearcut.storage.base import BlobStore
from clearcut.storage.factory import blob_store, data_folder, signing_secrets
from clearcut.storage.signed_urls import OutputLinks, sign_url

from . import webhook
from .acceptance import JobAcceptance
from .backlog import Backlog
from .cutout_step import CutoutStep
from .dbos_queue import DbosQueue, dbos_installed
from .fetch_step import FetchStep
from .interruptible_waits import InterruptibleWaits
from .nodes import MultiNode, NodeRegistry, SingleNode, queue_url
from .steps import JobSteps
from .throttle import JobThrottle
from .types import JobView
from .webhook_step import WebhookBody, WebhookStep

log = logging.getLogger("clearcut")

COUNT_INTERVAL_S = 2.0
"""Seconds between counts of the waiting jobs on all nodes."""
RECOVERY_INTERVAL_S = 5.0
"""Seconds between checks for processes that have ended."""
CLEANUP_INTERVAL_S = 600.0
"""Seconds between deletions of old jobs and files."""
MIN_RETENTION_S = 86_400.0
"""Seconds for which finished jobs stay readable at least."""
SHARED_SIGNATURE = {
    "setting": "CLEARCUT_WEBHOOK_SHARED_SIGNATURE",
    "remedy": "give each receiver the secret of its account",
}


class JobManager:
    """Accepts and finds jobs. Used from the service's event loop."""

    def __init__(self, settings: Settings, accounts: AccountService, metrics: Metrics, workers: int) -> None:
        self._settings = settings
        self._accounts = accounts
        self._metrics = metrics
        self._workers = workers
        self._queue: DbosQueue | None = None
        self._acceptance: JobAcceptance | None = None
        self._blobs: BlobStore | None = None
        self._secrets: tuple[bytes, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self.acceptance_slots = Slots(settings.slots)
        """Slots for requests that create jobs; they use no request slots of the service."""
        self.webhook_bodies: dict[str, WebhookBody] = {}
        """Creates the webhook bodies, by API. Each API registers its own."""
        self.finished_jobs = 0
        """Number of jobs that this process has finished since the start."""
        self.backlog = Backlog(settings.jobs_waiting)
        backlog = self.backlog
        metrics.jobs_queued.set_function(lambda: backlog.counts.waiting)
        metrics.jobs_processing.set_function(lambda: backlog.counts.processing)

    async def start(self, pipeline: Pipeline) -> OutputLinks:
        """Start the queue, which continues unfinished jobs.

        Returns:
            The signed URLs of outputs.

        Raises:
            StartupError: the database or the store cannot be used, or a package is not installed.
        """
        settings = self._settings
        if not dbos_installed():
            raise StartupError(f"CLEARCUT_JOBS={settings.jobs}: {missing_extra('jobs')}")
        fetcher = FetchClient(fetch_policy(settings), on_result=self._metrics.fetch_ended)
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret is not None else None
        shared = settings.webhook_shared_signature
        webhook_secrets = partial(webhook.secrets_for, secret, shared=shared)
        if secret is not None:
            webhook.signing_key(secret)
            if shared and self._accounts.enabled:
                log.warning("webhooks are also signed with the shared secret", extra={"fields": SHARED_SIGNATURE})
        self._blobs = await asyncio.to_thread(blob_store, settings)
        self._secrets = await asyncio.to_thread(signing_secrets, settings)
        max_jobs = max(1, self._workers // 2)
        throttle = JobThrottle(pipeline.active_requests, max_jobs, max_requests=max_jobs)
        waits, ttl_s = InterruptibleWaits(), settings.blob_ttl_s
        steps = JobSteps(
            FetchStep(waits, fetcher, self._blobs, ttl_s),
            CutoutStep(waits, pipeline, self._accounts, self._blobs, throttle, ttl_s),
            WebhookStep(waits, fetcher, self._metrics, self.webhook_bodies, self.output_url, webhook_secrets),
            waits, self._accounts, self._blobs, self._metrics, ttl_s, self._job_finished,
        )  # fmt: skip
        self._queue = DbosQueue(await asyncio.to_thread(_nodes, settings), steps)
        await self._queue.start()
        self._acceptance = JobAcceptance(
            settings, self._accounts, self._metrics, self._queue, fetcher, self._blobs, self._secrets, self.backlog
        )
        self._tasks = [
            asyncio.create_task(self._repeat(COUNT_INTERVAL_S, self._update_backlog)),
            asyncio.create_task(self._repeat(RECOVERY_INTERVAL_S, self._queue.recover)),
            asyncio.create_task(self._repeat(CLEANUP_INTERVAL_S, self._clean_up)),
        ]
        return OutputLinks(self._blobs, self._secrets)

    async def drain(self) -> None:
        """Start no further steps. Wait until no request creates a job and all steps in progress are recorded."""
        await self.acceptance_slots.until_empty()
        if self._queue is not None:
            await self._queue.drain()

    async def stop(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for steps in progress, then stop. The next start continues unfinished jobs."""
        for task in self._tasks:
            task.cancel()
        if self._queue is not None:
            await self._queue.stop(timeout_s)

    @property
    def acceptance(self) -> JobAcceptance:
        """The acceptance of new jobs. Raises Unavailable until the jobs have started."""
        if self._acceptance is None:
            raise Unavailable("Jobs are not available")
        return self._acceptance

    async def find(self, job_id: str, account: Account | None) -> JobView | None:
        """Return a job of this account; None for a job of another account, or if there is no such job."""
        job = await self._open_queue().find(job_id)
        owner = account.id if account is not None else None
        return job if job is not None and job.spec.account == owner else None

    def output_url(self, job: JobView) -> str | None:
        """Return the signed URL of a job's output, valid until the output expires; None without an output."""
        outcome = job.outcome
        if outcome is None or outcome.output is None:
            return None
        expires_at = outcome.finished + self._settings.blob_ttl_s
        return sign_url(self._settings.public_url or job.spec.base, outcome.output, expires_at, self._secrets)

    def _job_finished(self, seconds: float) -> None:
        self.finished_jobs += 1
        self.backlog.record_job(seconds)

    def _open_queue(self) -> DbosQueue:
        if self._queue is None:
            raise Unavailable("Jobs are not available")
        return self._queue

    async def _update_backlog(self) -> None:
        self.backlog.update(await self._open_queue().counts())

    async def _clean_up(self) -> None:
        """Delete old finished jobs and expired files."""
        now = time.time()
        retention_s = max(MIN_RETENTION_S, self._settings.blob_ttl_s)
        jobs = await self._open_queue().delete_finished(now - retention_s)
        files = await asyncio.to_thread(self._blobs.sweep, now) if self._blobs is not None else 0
        if jobs or files:
            log.info("deleted expired jobs and files", extra={"fields": {"jobs": jobs, "files": files}})

    async def _repeat(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` every ``seconds``. Errors are logged."""
        while True:
            try:
                await work()
            except Unavailable:
                log.debug("job database cannot be reached")
            except Exception:
                log.exception("background task of jobs failed")
            await asyncio.sleep(seconds)


def _nodes(settings: Settings) -> NodeRegistry:
    return SingleNode(data_folder(settings)) if settings.jobs == "sqlite" else MultiNode(queue_url(settings))
