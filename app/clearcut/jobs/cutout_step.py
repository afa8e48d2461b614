"""The step that makes a job's cut-out and stores it."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from clearcut.accounts.service import AccountService
from clearcut.cutout_types import CutoutRequest
from clearcut.errors import RateLimited
from clearcut.observability.timing import RequestTiming
from clearcut.pipeline import Pipeline
from clearcut.storage.base import BlobStore

from .interruptible_waits import RETRY_TIMEOUT_S, InterruptibleWaits
from .throttle import JobThrottle
from .types import JobSpec, Outcome, input_key, output_key, partition_of


class CutoutStep:
    """Makes the cut-outs of jobs.

    Args:
        ttl_s: lifetime of stored outputs in seconds.
    """

    def __init__(
        self,
        waits: InterruptibleWaits,
        pipeline: Pipeline,
        accounts: AccountService,
        blobs: BlobStore,
        throttle: JobThrottle,
        ttl_s: float,
    ) -> None:
        self._waits = waits
        self._pipeline = pipeline
        self._accounts = accounts
        self._blobs = blobs
        self._throttle = throttle
        self._ttl_s = ttl_s

    async def run(self, job_id: str, spec: JobSpec) -> Outcome:
        """Make the cut-out and store it; wait first while the account's megapixel quota is exceeded.

        Raises:
            RateLimited: the quota was exceeded for ``RETRY_TIMEOUT_S``.
            KeyError: the input has expired.
            ClearcutError: as the pipeline and the store raise.
        """
        until = time.monotonic() + RETRY_TIMEOUT_S
        while True:
            try:
                return await self._cut_out(job_id, spec)
            except RateLimited as exc:
                if exc.retry_after is None or time.monotonic() + exc.retry_after > until:
                    raise
                seconds = exc.retry_after
            await self._waits.sleep(seconds)

    async def _cut_out(self, job_id: str, spec: JobSpec) -> Outcome:
        """Make the cut-out and store it. The image is in memory only while the job holds a slot.

        Raises:
            RateLimited: the account's megapixel quota is exceeded.
            KeyError, ClearcutError: as ``run``.
        """
        counted = spec.account is not None and self._accounts.enabled
        account = await self._accounts.find(spec.account or "") if counted else None
        megapixels = self._accounts.quotas.megapixels(account)

        async def count_pixels(pixels: int) -> None:
            status = await megapixels.count(pixels)
            if status is not None and status.exceeded:
                raise RateLimited(f"At most {status.quota} megapixels a minute", retry_after=status.reset_s)

        async with self._waits.slot(self._throttle.slot(partition_of(job_id, spec))) as stage_gate:
            data = (await asyncio.to_thread(self._blobs.get, input_key(job_id, spec))).data
            started = time.monotonic()
            request = CutoutRequest(data, (spec.options,), model=spec.served_model, moderate=spec.moderate)
            result = await self._pipeline.remove(request, RequestTiming(RETRY_TIMEOUT_S), count_pixels, stage_gate)
            seconds = time.monotonic() - started
        image = result.outputs[0].image
        key = output_key(job_id, spec, image.format)
        put = partial(self._blobs.put, key, image.data, image.media_type, time.time() + self._ttl_s)
        await self._waits.retry(lambda: asyncio.to_thread(put))
        return Outcome(
            True, time.time(), seconds, key, image.media_type, image.width, image.height,
            moderation=result.moderation, model=result.model,
        )  # fmt: skip
