"""Accepts jobs: checks the limits, reserves credits, stores the input and adds the job to the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

from clearcut.accounts import pricing
from clearcut.accounts.keys import Account
from clearcut.accounts.service import AccountService
from clearcut.errors import ClearcutError, FetchFailed, IdempotencyMismatch, RateLimited, Unavailable
from clearcut.fetch.client import FetchClient
from clearcut.imaging.types import Buffer
from clearcut.observability.metrics import Metrics
from clearcut.settings import Settings
from clearcut.storage.base import BlobStore

from .backlog import Backlog
from .dbos_queue import DbosQueue
from .types import (
    ANONYMOUS,
    LEASE_S,
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

log = logging.getLogger("clearcut")

FIRST_LEASE_S = 120.0
"""Seconds until a new reservation expires if the process ends before the job is enqueued. Then it gets ``LEASE_S``."""


class JobAcceptance:
    """Accepts jobs. Used from the service's event loop.

    Args:
        secrets: the signing secrets; the first one makes the ids of jobs with an Idempotency-Key.
    """

    def __init__(
        self,
        settings: Settings,
        accounts: AccountService,
        metrics: Metrics,
        queue: DbosQueue,
        fetcher: FetchClient,
        blobs: BlobStore,
        secrets: Sequence[bytes],
        backlog: Backlog,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._metrics = metrics
        self._queue = queue
        self._fetcher = fetcher
        self._blobs = blobs
        self._secrets = secrets
        self._backlog = backlog
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Serialize requests with the same Idempotency-Key, and those of an account with a limit."""

    async def accept(
        self, spec: JobSpec, data: Buffer | None, account: Account | None, key: str | None, limit: int = 0
    ) -> JobView:
        """Accept a job. After the return, the job will be processed even if this process ends.

        Args:
            data: the image, if it was sent with the request.
            key: the caller's Idempotency-Key; None without an account. While the queue stores the job, the same request
                with the same key returns it. Later it creates a new job with a new charge.
            limit: maximum number of the account's unfinished jobs of the API; 0 is no limit.

        Returns:
            The new job, or the earlier one with the same Idempotency-Key.

        Raises:
            UrlRefused, FetchFailed: the URL of the image or the webhook cannot be used.
            IdempotencyMismatch: the Idempotency-Key identifies another request.
            PaymentRequired, PermissionDenied: the account cannot pay for the job.
            RateLimited: the account has reached a limit.
            Overloaded, StorageFull: the service has reached a limit.
            Unavailable: a database or the store cannot be reached.
        """
        ids = self._job_ids(account, key) if account is not None and key is not None else [new_job_id()]
        async with AsyncExitStack() as locks:
            if limit and account is not None:
                await locks.enter_async_context(self._locks.setdefault(account.id, asyncio.Lock()))
            if key is not None:
                await locks.enter_async_context(self._locks.setdefault(ids[0], asyncio.Lock()))
                if (earlier := await self._find_earlier(ids)) is not None:
                    if earlier.spec.fingerprint != spec.fingerprint:
                        raise IdempotencyMismatch
                    return earlier
            if account is not None:
                spec = replace(spec, charge=new_charge_id(), cost=pricing.request_price(account))
            if self._accounts.enabled:
                owner = account.id if account is not None else ANONYMOUS
                spec = replace(spec, owner=owner_tag(owner, self._secrets[0]))
            return await self._accept(ids[0], spec, data, account, key is not None, limit)

    def require_capacity(self, account: Account | None) -> None:
        """Check that one more job of the account can wait. Raises Overloaded, RateLimited."""
        if account is not None:
            self._backlog.require_capacity(account.id)
        else:
            self._backlog.require_capacity(ANONYMOUS if self._accounts.enabled else None)

    async def has_job(self, account: Account, key: str) -> bool:
        """Return whether the account's Idempotency-Key identifies a job. Raises Unavailable."""
        return await self._find_earlier(self._job_ids(account, key)) is not None

    def _job_ids(self, account: Account, key: str) -> list[str]:
        """Return the possible ids of the job of an Idempotency-Key: one for each signing secret."""
        return [idempotent_job_id(account.id, key, secret) for secret in self._secrets]

    async def _find_earlier(self, ids: Sequence[str]) -> JobView | None:
        """Return the first job that exists."""
        for job_id in ids:
            if (job := await self._queue.find(job_id)) is not None:
                return job
        return None

    async def _accept(
        self, job_id: str, spec: JobSpec, data: Buffer | None, account: Account | None, idempotent: bool, limit: int
    ) -> JobView:
        self.require_capacity(account)
        if limit and account is not None:
            unfinished = await self._queue.count_unfinished(account.id, spec.dialect, limit)
            if unfinished >= limit:
                raise RateLimited(f"The key has {unfinished} of {limit} unfinished jobs", retry_after=5)
        await self._check_urls(spec)
        charge = job_charge(job_id, spec)
        if charge is not None:
            await self._accounts.job_charges.reserve(charge, FIRST_LEASE_S)
        try:
            await self._store_input(job_id, spec, data)
            await self._queue.enqueue(job_id, spec)
            stored = await self._queue.find(job_id) if idempotent else None
        except ClearcutError:
            if await self._certainly_absent(job_id):
                await self._withdraw(job_id, spec)
            raise
        if charge is not None and stored is not None and stored.spec.charge != spec.charge:
            # Another node accepted a job with this Idempotency-Key first. The same request has the same input key.
            same_request = stored.spec.fingerprint == spec.fingerprint
            await self._withdraw(job_id, spec, keep_input=same_request)
            if not same_request:
                raise IdempotencyMismatch
            return stored
        if charge is not None:
            with suppress(Unavailable):  # the job renews an expired reservation
                await self._accounts.job_charges.extend(charge, LEASE_S)
        self._backlog.count_accepted(partition_of(job_id, spec))
        self._metrics.jobs_accepted.labels(spec.dialect).inc()
        return JobView(job_id, spec, "queued", None, "pending" if spec.webhook is not None else None)

    async def _check_urls(self, spec: JobSpec) -> None:
        """Refuse URLs that the job could never use. A temporary failure is no reason to refuse.

        Raises:
            UrlRefused, FetchFailed: a URL cannot be used.
        """
        for url, role in ((spec.url, "image"), (spec.webhook, "webhook")):
            if url is not None:
                try:
                    await self._fetcher.check(url, role=role)
                except FetchFailed as exc:
                    if not exc.temporary:
                        raise

    async def _store_input(self, job_id: str, spec: JobSpec, data: Buffer | None) -> None:
        """Store the image if it was sent. Otherwise check that there is space for the download.

        Raises:
            StorageFull: the quota is used up.
            Unavailable: the store cannot be used.
        """
        try:
            if data is None:
                await asyncio.to_thread(self._blobs.require_space, input_key(job_id, spec))
                return
            expires_at = time.time() + max(LEASE_S, self._settings.blob_ttl_s)
            put = partial(self._blobs.put, input_key(job_id, spec), data, "application/octet-stream", expires_at)
            await asyncio.to_thread(put)
        except OSError as exc:
            log.error("job store failed", extra={"fields": {"error": type(exc).__name__}})
            raise Unavailable("The images of jobs cannot be stored", retry_after=5) from None

    async def _withdraw(self, job_id: str, spec: JobSpec, *, keep_input: bool = False) -> None:
        """Return the credits and delete the input of a job that was not accepted.

        Credits and input expire by themselves if this fails.
        """
        if (charge := job_charge(job_id, spec)) is not None:
            with suppress(Unavailable):
                await self._accounts.job_charges.settle(charge, False)
        if not keep_input:
            with suppress(Unavailable, OSError):
                await asyncio.to_thread(self._blobs.delete, input_key(job_id, spec))

    async def _certainly_absent(self, job_id: str) -> bool:
        """Return whether the queue certainly does not contain a job. If it may, the job keeps its reservation."""
        try:
            return await self._queue.find(job_id) is None
        except Unavailable:
            return False
