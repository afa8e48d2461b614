"""The jobs of one service: accepted here, looked up here, and everything behind them started and stopped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from clearcut.accounts.keys import Account
from clearcut.accounts.service import AccountService
from clearcut.admission.limits import Slots
from clearcut.errors import StartupError, Unavailable
from clearcut.fetch.client import FetchClient
from clearcut.fetch.policy import fetch_policy
from clearcut.observability.metrics import Metrics
from clearcut.pipeline import Pipeline
from clearcut.settings import Settings
from clearcut.storage.base import BlobStore
from clearcut.storage.factory import blob_store, data_folder, signing_secrets
from clearcut.storage.signed_urls import OutputLinks, sign_url

from . import webhook
from .acceptance import Backlog, JobAcceptance
from .dbos_queue import DbosQueue, dbos_installed
from .models import JobView
from .nodes import MultiNode, NodeRegistry, SingleNode, queue_url
from .steps import JobSteps, Payload
from .throttle import JobThrottle

log = logging.getLogger("clearcut")

LOOK_S = 2.0
"""How old the counts of the backlog may be."""
RECOVER_S = 5.0
"""How often it is looked for processes that are gone."""
TIDY_S = 600.0
SHARED_SIGNATURE = {"setting": "CLEARCUT_WEBHOOK_SHARED_SIGNATURE", "remedy": "give each account its own secret"}


class JobManager:
    """Used from the service's event loop. ``payloads``: what each dialect's webhook says, put in by the dialects."""

    def __init__(self, settings: Settings, access: AccountService, metrics: Metrics, workers: int) -> None:
        self._settings = settings
        self._access = access
        self._metrics = metrics
        self._workers = workers
        self._queue: DbosQueue | None = None
        self._acceptance: JobAcceptance | None = None
        self._blobs: BlobStore | None = None
        self._secrets: tuple[bytes, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self.door = Slots(settings.slots)
        """Orders that are being taken; they hold no place among the requests."""
        self.payloads: dict[str, Payload] = {}
        self.finished = 0
        """Here, since the start."""
        self.backlog = Backlog(settings.jobs_waiting)
        backlog = self.backlog
        metrics.jobs_queued.set_function(lambda: backlog.counts.waiting)
        metrics.jobs_processing.set_function(lambda: backlog.counts.at_work)

    async def start(self, pipeline: Pipeline) -> OutputLinks:
        """Begin with what waits; what answers for the outputs' addresses.

        Raises:
            StartupError: the database or the store cannot be used, or what they need is not installed.
        """
        settings = self._settings
        if not dbos_installed():
            raise StartupError(f"CLEARCUT_JOBS={settings.jobs}: install the 'jobs' extra")
        fetcher = FetchClient(fetch_policy(settings), ended=self._metrics.fetch_ended)
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret is not None else None
        shared = settings.webhook_shared_signature
        hook_secrets = partial(webhook.secrets_for, secret, shared=shared)
        if secret is not None:
            webhook.signing_key(secret)
            if shared and self._access.enabled:
                log.warning("webhooks are also signed with the shared secret", extra={"fields": SHARED_SIGNATURE})
        self._blobs = await asyncio.to_thread(blob_store, settings)
        self._secrets = await asyncio.to_thread(signing_secrets, settings)
        width = max(1, self._workers // 2)
        lane = JobThrottle(pipeline.at_work, width=width, room=width)
        steps = JobSteps(
            pipeline, self._access, self._blobs, fetcher, self._metrics, lane, settings.blob_ttl_s,
            self.payloads, self.link, hook_secrets, self._done,
        )  # fmt: skip
        self._queue = DbosQueue(await asyncio.to_thread(_nodes, settings), steps)
        await self._queue.start()
        self._acceptance = JobAcceptance(
            settings, self._access, self._metrics, self._queue, fetcher, self._blobs, self._secrets, self.backlog
        )
        self._tasks = [
            asyncio.create_task(self._every(LOOK_S, self._look)),
            asyncio.create_task(self._every(RECOVER_S, self._queue.recover)),
            asyncio.create_task(self._every(TIDY_S, self._tidy)),
        ]
        return OutputLinks(self._blobs, self._secrets)

    async def rest(self) -> None:
        """Return once no order is being taken and no step is at work; no step begins from now on."""
        await self.door.until_empty()
        if self._queue is not None:
            await self._queue.rest()

    async def stop(self, patience_s: float) -> None:
        """Let running steps end; what is accepted stays."""
        for task in self._tasks:
            task.cancel()
        if self._queue is not None:
            await self._queue.stop(patience_s)

    @property
    def acceptance(self) -> JobAcceptance:
        """Raises Unavailable: the jobs have not started yet."""
        if self._acceptance is None:
            raise Unavailable("The jobs are not available")
        return self._acceptance

    async def find(self, job_id: str, account: Account | None) -> JobView | None:
        """A job of this account's; None for one of another's as for none at all."""
        found = await self._opened().find(job_id)
        owner = account.id if account is not None else None
        return found if found is not None and found.order.account == owner else None

    def link(self, job: JobView) -> str | None:
        """The signed address of a job's output, good until the output expires; None where there is none."""
        outcome = job.outcome
        if outcome is None or outcome.output is None:
            return None
        expires_at = outcome.finished + self._settings.blob_ttl_s
        return sign_url(self._settings.public_url or job.order.base, outcome.output, expires_at, self._secrets)

    def _done(self, seconds: float) -> None:
        self.finished += 1
        self.backlog.done(seconds)

    def _opened(self) -> DbosQueue:
        if self._queue is None:
            raise Unavailable("The jobs are not available")
        return self._queue

    async def _look(self) -> None:
        self.backlog.counted(await self._opened().counts())

    async def _tidy(self) -> None:
        """Nothing is left behind: neither what a finished job was, nor its files."""
        now = time.time()
        dropped = await self._opened().forget(now - max(86_400.0, self._settings.blob_ttl_s))
        swept = await asyncio.to_thread(self._blobs.sweep, now) if self._blobs is not None else 0
        if dropped or swept:
            log.info("tidied", extra={"fields": {"jobs": dropped, "files": swept}})

    async def _every(self, seconds: float, work: Callable[[], object]) -> None:
        while True:
            try:
                found = work()
                if asyncio.iscoroutine(found):
                    await found
            except Unavailable:
                log.debug("the jobs' database is away")
            except Exception:
                log.exception("the jobs' housekeeping failed")
            await asyncio.sleep(seconds)


def _nodes(settings: Settings) -> NodeRegistry:
    return SingleNode(data_folder(settings)) if settings.jobs == "sqlite" else MultiNode(queue_url(settings))
