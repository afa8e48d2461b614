"""Takes the orders of jobs: checks them, reserves a credit, stores the input and adds them to the queue."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

from clearcut.accounts import pricing
from clearcut.accounts.keys import Account
from clearcut.accounts.service import AccountService
from clearcut.errors import ClearcutError, FetchFailed, IdempotencyMismatch, Overloaded, RateLimited, Unavailable
from clearcut.fair_share import exceeds_share
from clearcut.fetch.client import FetchClient
from clearcut.imaging.types import Buffer
from clearcut.observability.metrics import Metrics
from clearcut.settings import Settings
from clearcut.storage.base import BlobStore

from .dbos_queue import DbosQueue
from .models import (
    ANONYMOUS,
    JobSpec,
    JobView,
    idempotent_job_id,
    input_key,
    job_charge,
    new_charge_id,
    new_job_id,
    owner_tag,
    partition_of,
)
from .nodes import JobCounts
from .steps import LEASE_S

log = logging.getLogger("clearcut")

FIRST_LEASE_S = 120.0
"""For a reservation whose job may never be enqueued, as the process may end in between; then it gets a job's."""


class Backlog:
    """Waiting jobs on all nodes, counted every few seconds, and how long one takes.

    Args:
        capacity: waiting jobs that are accepted.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.counts = JobCounts(0, 0, {})
        self._fresh: Counter[str] = Counter()
        """By partition: accepted here since the last count."""
        self._work_s = 0.5

    @property
    def waiting(self) -> int:
        return self.counts.waiting + self._fresh.total()

    def counted(self, counts: JobCounts) -> None:
        self.counts = counts
        self._fresh.clear()

    def accepted(self, partition: str) -> None:
        self._fresh[partition] += 1

    def done(self, seconds: float) -> None:
        """Note the seconds of work on a finished job."""
        self._work_s = 0.9 * self._work_s + 0.1 * max(0.05, seconds)

    def estimate_s(self) -> float:
        """Seconds until a job accepted now is likely done."""
        return (self.waiting + 1) * self._work_s

    def require_place(self, partition: str | None) -> None:
        """Refuse a job that would exceed the capacity, or the share of it that its partition may have
        (``clearcut.fair_share``).

        Args:
            partition: an account, or all callers without one; None in a service without accounts.

        Raises:
            Overloaded, RateLimited
        """
        retry_after = min(60, math.ceil(self.estimate_s()))
        if self.waiting >= self._capacity:
            raise Overloaded(f"{self.waiting} jobs are waiting", retry_after=retry_after)
        if partition is None:
            return
        own = self.counts.by_partition.get(partition, 0) + self._fresh[partition]
        if own and exceeds_share(own + 1, self._capacity - self.waiting - 1):
            whose = "Callers without a key have" if partition == ANONYMOUS else "The key has"
            raise RateLimited(f"{whose} {own} waiting jobs, the share of one key", retry_after=retry_after)


class JobAcceptance:
    """Used from the service's event loop.

    Args:
        secrets: of the signing secret; the first one makes job ids.
    """

    def __init__(
        self,
        settings: Settings,
        access: AccountService,
        metrics: Metrics,
        queue: DbosQueue,
        fetcher: FetchClient,
        blobs: BlobStore,
        secrets: Sequence[bytes],
        backlog: Backlog,
    ) -> None:
        self._settings = settings
        self._access = access
        self._metrics = metrics
        self._queue = queue
        self._fetcher = fetcher
        self._blobs = blobs
        self._secrets = secrets
        self._backlog = backlog
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Serialises the orders of one Idempotency-Key, and those of an account with a limit."""

    async def accept(
        self, order: JobSpec, data: Buffer | None, account: Account | None, key: str | None, most: int = 0
    ) -> JobView:
        """Take a job on: once this returns it will be done, whatever happens to this process.

        Args:
            data: the picture, where it came with the order.
            key: the caller's Idempotency-Key; the same order of an account under the same key is the same job while
                the queue remembers it, and a new job with a charge of its own later. None without an account.
            most: unfinished jobs of the dialect that the account may have; 0 is no limit.

        Raises:
            UrlRefused, FetchFailed: the picture's or the webhook's address cannot be used.
            IdempotencyMismatch: the key stands for another order.
            PaymentRequired, PermissionDenied, RateLimited, Overloaded, StorageFull, Unavailable
        """
        ids = self._ids(account, key) if account is not None and key is not None else [new_job_id()]
        async with AsyncExitStack() as turn:
            if most and account is not None:
                await turn.enter_async_context(self._turns.setdefault(account.id, asyncio.Lock()))
            if key is not None:
                await turn.enter_async_context(self._turns.setdefault(ids[0], asyncio.Lock()))
                if (earlier := await self._earlier(ids)) is not None:
                    if earlier.order.fingerprint != order.fingerprint:
                        raise IdempotencyMismatch
                    return earlier
            if account is not None:
                order = replace(order, charge=new_charge_id(), cost=pricing.request_price(account))
            if self._access.enabled:
                owner = account.id if account is not None else ANONYMOUS
                order = replace(order, owner=owner_tag(owner, self._secrets[0]))
            return await self._accept(ids[0], order, data, account, key is not None, most)

    def require_place(self, account: Account | None) -> None:
        """Refuse a job beyond the queue's capacity, or its account's share. Raises Overloaded, RateLimited."""
        if account is not None:
            self._backlog.require_place(account.id)
        else:
            self._backlog.require_place(ANONYMOUS if self._access.enabled else None)

    async def has_job(self, account: Account, key: str) -> bool:
        """Whether the account's Idempotency-Key identifies a job. Raises Unavailable."""
        return await self._earlier(self._ids(account, key)) is not None

    def _ids(self, account: Account, key: str) -> list[str]:
        return [idempotent_job_id(account.id, key, each) for each in self._secrets]

    async def _earlier(self, ids: Sequence[str]) -> JobView | None:
        """The job of an Idempotency-Key; its id may be made with any of the signing secrets."""
        for each in ids:
            if (found := await self._queue.find(each)) is not None:
                return found
        return None

    async def _accept(
        self, job_id: str, order: JobSpec, data: Buffer | None, account: Account | None, keyed: bool, most: int
    ) -> JobView:
        self.require_place(account)
        if most and account is not None:
            used = await self._queue.unfinished(account.id, order.dialect, most)
            if used >= most:
                raise RateLimited(f"The key has {used} of {most} unfinished jobs", retry_after=5)
        await self._check(order)
        charge = job_charge(job_id, order)
        if charge is not None:
            await self._access.reserve_for_job(charge, FIRST_LEASE_S)
        try:
            await self._store(job_id, order, data)
            await self._queue.add(job_id, order)
            first = await self._queue.find(job_id) if keyed else None
        except ClearcutError:
            if await self._absent(job_id):
                await self._withdraw(job_id, order)
            raise
        if charge is not None and first is not None and first.order.charge != order.charge:
            # Another node has accepted a job under this Idempotency-Key; the same order has the same input.
            await self._withdraw(job_id, order, keep_input=first.order.fingerprint == order.fingerprint)
            if first.order.fingerprint != order.fingerprint:
                raise IdempotencyMismatch
            return first
        if charge is not None:
            with suppress(Unavailable):  # the job makes its reservation anew where it lapses
                await self._access.extend(charge, LEASE_S)
        self._backlog.accepted(partition_of(job_id, order))
        self._metrics.jobs_accepted.labels(order.dialect).inc()
        return JobView(job_id, order, "queued", None, "pending" if order.webhook is not None else None)

    async def _check(self, order: JobSpec) -> None:
        """Refuse a URL that the job could not use. A URL that may work later is accepted."""
        for url, role in ((order.url, "image"), (order.webhook, "webhook")):
            if url is not None:
                try:
                    await self._fetcher.check(url, role=role)
                except FetchFailed as exc:
                    if not exc.temporary:
                        raise

    async def _store(self, job_id: str, order: JobSpec, data: Buffer | None) -> None:
        """Store the image, if it was sent; otherwise require space for what will be fetched.

        Raises:
            StorageFull, Unavailable
        """
        try:
            if data is None:
                await asyncio.to_thread(self._blobs.require_space, input_key(job_id, order))
                return
            expires_at = time.time() + max(LEASE_S, self._settings.blob_ttl_s)
            put = partial(self._blobs.put, input_key(job_id, order), data, "application/octet-stream", expires_at)
            await asyncio.to_thread(put)
        except OSError as exc:
            log.error("the jobs' store failed", extra={"fields": {"error": type(exc).__name__}})
            raise Unavailable("The images of jobs cannot be stored", retry_after=5) from None

    async def _withdraw(self, job_id: str, order: JobSpec, *, keep_input: bool = False) -> None:
        """Give back what was reserved and stored for an order that became no job; what fails expires by itself."""
        if (charge := job_charge(job_id, order)) is not None:
            with suppress(Unavailable):
                await self._access.settle_job(charge, False)
        if not keep_input:
            with suppress(Unavailable, OSError):
                await asyncio.to_thread(self._blobs.delete, input_key(job_id, order))

    async def _absent(self, job_id: str) -> bool:
        """Whether an order that failed is certainly not in the queue; in doubt it keeps its reservation."""
        try:
            return await self._queue.find(job_id) is None
        except Unavailable:
            return False
