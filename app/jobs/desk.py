"""The jobs of one service: accepted here, looked up here, and everything behind them started and stopped."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

from app.access.charges import Charge
from app.access.gate import Access
from app.access.keys import Account
from app.access.limits import Slots
from app.blobs.links import Outputs, sign_url
from app.blobs.opening import blob_store, data_folder, signing_secrets
from app.blobs.store import BlobStore
from app.errors import (
    ClearcutError,
    FetchFailed,
    IdempotencyMismatch,
    Overloaded,
    RateLimited,
    StartupError,
    StorageFull,
    Unavailable,
)
from app.fetch.fetcher import Fetcher
from app.fetch.rules import fetch_rules
from app.imaging.types import Buffer
from app.jobs import webhook
from app.jobs.lane import Lane
from app.jobs.nodes import ManyNodes, Nodes, OneNode, queue_url
from app.jobs.order import JobView, Order, charge_of, id_for, input_key, new_charge_id, new_id
from app.jobs.queue import Queue, installed
from app.jobs.steps import LEASE_S, JobSteps, Payload
from app.metrics import Metrics
from app.pipeline import Pipeline
from app.settings import MIB, Settings

log = logging.getLogger("clearcut")

LOOK_S = 2.0
"""How old the counts of the backlog may be."""
RECOVER_S = 5.0
"""How often it is looked for processes that are gone."""
TIDY_S = 600.0
FIRST_LEASE_S = 120.0
"""For a reservation whose job may never be enqueued, as the process may end in between; then it gets a job's."""


class Jobs:
    """Used from the service's event loop. ``payloads``: what each dialect's webhook says, put in by the dialects."""

    def __init__(self, settings: Settings, access: Access, metrics: Metrics, workers: int) -> None:
        self._settings = settings
        self._access = access
        self._metrics = metrics
        self._workers = workers
        self._queue: Queue | None = None
        self._fetcher: Fetcher | None = None
        self._blobs: BlobStore | None = None
        self._secrets: tuple[bytes, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._work_s = 0.5
        self._fresh = 0
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Orders that look before they leap, one after the other: of one Idempotency-Key, or of a limited account."""
        self.door = Slots(settings.slots)
        """Orders that are being taken; they hold no place among the requests."""
        self.payloads: dict[str, Payload] = {}
        self.finished = 0
        """Here, since the start."""
        self.waiting = 0
        """Jobs in the queue, on all nodes together; some seconds old."""
        self.at_work = 0
        metrics.watch("clearcut_jobs_queued", "Jobs that wait, on all nodes.", lambda: self.waiting)
        metrics.watch("clearcut_jobs_processing", "Jobs that are at work, on all nodes.", lambda: self.at_work)

    async def start(self, pipeline: Pipeline) -> Outputs:
        """Begin with what waits; what answers for the outputs' addresses.

        Raises:
            StartupError: the database or the store cannot be used, or what they need is not installed.
        """
        settings = self._settings
        if not installed():
            raise StartupError(f"CLEARCUT_JOBS={settings.jobs}: install the 'jobs' extra")
        self._fetcher = fetcher = Fetcher(fetch_rules(settings), ended=self._metrics.fetch_ended)
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret is not None else None
        if secret is not None:
            webhook.signing_key(secret)
        self._blobs = await asyncio.to_thread(blob_store, settings)
        self._secrets = await asyncio.to_thread(signing_secrets, settings)
        width = max(1, self._workers // 2)
        lane = Lane(pipeline.at_work, width=width, room=width)
        steps = JobSteps(
            pipeline, self._access, self._blobs, fetcher, self._metrics, lane, settings.blob_ttl_s,
            self.payloads, self.link, secret, self._done,
        )  # fmt: skip
        self._queue = Queue(await asyncio.to_thread(_nodes, settings), steps)
        await self._queue.start()
        self._tasks = [
            asyncio.create_task(self._every(LOOK_S, self._look)),
            asyncio.create_task(self._every(RECOVER_S, self._queue.recover)),
            asyncio.create_task(self._every(TIDY_S, self._tidy)),
        ]
        return Outputs(self._blobs, self._secrets)

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

    async def accept(
        self, order: Order, data: Buffer | None, account: Account | None, key: str | None, most: int = 0
    ) -> JobView:
        """Take a job on: once this returns it will be done, whatever happens to this process.

        Args:
            data: the picture, where it came with the order.
            key: the caller's Idempotency-Key; the same order of an account under the same key is the same job while
                the queue remembers it, and a new job with a charge of its own later. None without an account.
            most: unfinished jobs of the dialect that the account may have; 0 is no limit.

        Raises:
            AddressRefused, FetchFailed: the picture's or the webhook's address cannot be used.
            IdempotencyMismatch: the key stands for another order.
            PaymentRequired, PermissionDenied, RateLimited, Overloaded, StorageFull, Unavailable
        """
        ids = self._ids(account, key) if account is not None and key is not None else [new_id()]
        async with AsyncExitStack() as turn:
            if most and account is not None:
                await turn.enter_async_context(self._turns.setdefault(account.id, asyncio.Lock()))
            if key is not None:
                await turn.enter_async_context(self._turns.setdefault(ids[0], asyncio.Lock()))
                if (earlier := await self._earlier(ids)) is not None:
                    if earlier.order.fingerprint != order.fingerprint:
                        raise IdempotencyMismatch
                    return earlier
            order = replace(order, charge=new_charge_id() if account is not None else "")
            return await self._accept(ids[0], order, data, account, key is not None, most)

    async def has_job(self, account: Account, key: str) -> bool:
        """Whether the account's Idempotency-Key identifies a job. Raises Unavailable."""
        return await self._earlier(self._ids(account, key)) is not None

    def _ids(self, account: Account, key: str) -> list[str]:
        return [id_for(account.id, key, each) for each in self._secrets]

    async def _earlier(self, ids: Sequence[str]) -> JobView | None:
        """The job of an Idempotency-Key; its id may be made with any of the signing secrets."""
        for each in ids:
            if (found := await self._opened().find(each)) is not None:
                return found
        return None

    async def _accept(
        self, job_id: str, order: Order, data: Buffer | None, account: Account | None, keyed: bool, most: int
    ) -> JobView:
        queue = self._opened()
        if self.waiting + self._fresh >= self._settings.jobs_waiting:
            raise Overloaded(f"{self.waiting} jobs are waiting", retry_after=min(60, math.ceil(self.estimate_s())))
        if most and account is not None and (used := await queue.unfinished(account.id, order.dialect, most)) >= most:
            raise RateLimited(f"The key has {used} jobs in work, of {most}", retry_after=5)
        await self._check(order)
        charge = charge_of(job_id, order)
        if charge is not None:
            await self._access.hold(charge, FIRST_LEASE_S)
        try:
            await self._store(job_id, order, data)
            await queue.add(job_id, order)
            first = await queue.find(job_id) if keyed else None
        except ClearcutError:
            if charge is not None and await self._absent(queue, job_id):
                await self._give_back(charge)
            raise
        if charge is not None and first is not None and first.order.charge != order.charge:
            await self._give_back(charge)  # another node has accepted a job under this Idempotency-Key
            if first.order.fingerprint != order.fingerprint:
                raise IdempotencyMismatch
            return first
        if charge is not None:
            with suppress(Unavailable):  # the job makes its reservation anew where it lapses
                await self._access.keep(charge, LEASE_S)
        self._fresh += 1
        self._metrics.jobs_accepted.labels(order.dialect).inc()
        return JobView(job_id, order, "queued", None, "pending" if order.webhook is not None else None)

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

    def estimate_s(self) -> float:
        """Seconds until a job accepted now is likely done, from what the last ones took."""
        return (self.waiting + self._fresh + 1) * self._work_s

    def _done(self, seconds: float) -> None:
        self.finished += 1
        self._work_s = 0.9 * self._work_s + 0.1 * max(0.05, seconds)

    async def _check(self, order: Order) -> None:
        """Refuse an address at the door that would be refused later; what may be back later is tried later."""
        for url, field in ((order.url, order.field), (order.webhook, "webhook_url")):
            if url is not None and self._fetcher is not None:
                try:
                    await self._fetcher.check(url, field=field)
                except FetchFailed as exc:
                    if not exc.temporary:
                        raise

    async def _store(self, job_id: str, order: Order, data: Buffer | None) -> None:
        """Keep what was sent; an order that sends nothing needs room for what it will fetch.

        Raises:
            StorageFull, Unavailable
        """
        blobs, settings = self._blobs, self._settings
        if blobs is None:
            return
        try:
            if data is None:
                if await asyncio.to_thread(blobs.usage) >= settings.blob_quota_mb * MIB:
                    raise StorageFull
                return
            expires_at = time.time() + settings.blob_ttl_s
            put = partial(blobs.put, input_key(job_id, order), data, "application/octet-stream", expires_at)
            await asyncio.to_thread(put)
        except OSError as exc:
            log.error("the jobs' store failed", extra={"fields": {"error": type(exc).__name__}})
            raise Unavailable("The jobs' pictures cannot be kept", retry_after=5) from None

    async def _give_back(self, charge: Charge) -> None:
        with suppress(Unavailable):  # the reservation expires by itself
            await self._access.settle(charge, False)

    async def _absent(self, queue: Queue, job_id: str) -> bool:
        """Whether an order that failed is certainly not in the queue; in doubt it keeps its reservation."""
        try:
            return await queue.find(job_id) is None
        except Unavailable:
            return False

    def _opened(self) -> Queue:
        if self._queue is None:
            raise Unavailable("The jobs are not open")
        return self._queue

    async def _look(self) -> None:
        self.waiting, self.at_work = await self._opened().counts()
        self._fresh = 0

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


def _nodes(settings: Settings) -> Nodes:
    return OneNode(data_folder(settings)) if settings.jobs == "sqlite" else ManyNodes(queue_url(settings))
