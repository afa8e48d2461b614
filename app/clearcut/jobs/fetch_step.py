"""The step that downloads a job's image into the store."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from clearcut.errors import FetchFailed
from clearcut.fetch.client import FetchClient
from clearcut.storage.base import BlobStore

from .fair_limiter import FairLimiter
from .interruptible_waits import JITTER, InterruptibleWaits
from .types import LEASE_S, JobSpec, input_key, partition_of

FETCH_RETRY_DELAYS = (1.0, 4.0, 15.0)
"""Seconds before each further attempt at a URL after a temporary failure of its server."""
FETCH_RETRY_WINDOW_S = 25.0
"""Seconds after which no further attempt starts, so that a slow server does not occupy slots of other jobs."""
MAX_FETCHES, MAX_FETCHES_PER_ACCOUNT = 32, 8
"""Concurrent image downloads of one process. Each may occupy as much memory as an upload."""


class FetchStep:
    """Downloads images of jobs.

    Args:
        ttl_s: lifetime of stored outputs in seconds. An input is stored at least as long.
    """

    def __init__(self, waits: InterruptibleWaits, fetcher: FetchClient, blobs: BlobStore, ttl_s: float) -> None:
        self._waits = waits
        self._fetcher = fetcher
        self._blobs = blobs
        self._ttl_s = ttl_s
        self._slots = FairLimiter(MAX_FETCHES, MAX_FETCHES_PER_ACCOUNT, reserve=True)

    async def run(self, job_id: str, spec: JobSpec, url: str) -> int:
        """Download the image into the store and return its number of bytes.

        Raises:
            UrlRefused, FetchFailed: the image cannot be downloaded.
            StorageFull, Unavailable: the image cannot be stored.
        """
        # The slot is held until the image is stored and no longer in memory.
        async with self._waits.slot(self._slots.slot(partition_of(job_id, spec))):
            data = await self._download(url)
            expires_at = time.time() + max(LEASE_S, self._ttl_s)
            put = partial(self._blobs.put, input_key(job_id, spec), data, "application/octet-stream", expires_at)
            await self._waits.retry(lambda: asyncio.to_thread(put))
            return len(data)

    async def _download(self, url: str) -> bytearray:
        """Download an image; retry temporary failures."""
        until = time.monotonic() + FETCH_RETRY_WINDOW_S
        for delay in (*FETCH_RETRY_DELAYS, None):
            try:
                return (await self._fetcher.get(url, role="image")).data
            except FetchFailed as exc:
                if delay is None or not exc.temporary or time.monotonic() + (1 + JITTER) * delay > until:
                    raise
                await self._waits.sleep(delay)
        raise AssertionError
