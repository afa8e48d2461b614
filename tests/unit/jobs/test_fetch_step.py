"""The download of a job's image, from a real server into a real folder."""

from __future__ import annotations

import asyncio
import time

import pytest

from clearcut.errors import FetchFailed, UrlRefused
from clearcut.fetch.client import FetchClient
from clearcut.fetch.policy import FetchPolicy, HostRule
from clearcut.imaging.options import RemoveOptions
from clearcut.jobs import fetch_step, interruptible_waits
from clearcut.jobs.fetch_step import FetchStep
from clearcut.jobs.interruptible_waits import InterruptibleWaits
from clearcut.jobs.types import LEASE_S, JobSpec, input_key
from clearcut.storage.local import FolderBlobs
from tests.support import samples
from tests.support.fakes import until
from tests.support.http_servers import bytes_of, ok, serving

IMAGE = samples.png(samples.corners())
SPEC = JobSpec(
    dialect="apiframe", options=RemoveOptions(), field="image", accepted=0.0, base="http://clearcut", request_id="req",
    fingerprint=64 * "0",
)  # fmt: skip
UNAVAILABLE = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class FailingOnce(FolderBlobs):
    """A folder on a disk that fails once."""

    failed = False

    def put(self, *arguments):
        if not self.failed:
            self.failed = True
            raise OSError("disk")
        return super().put(*arguments)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(fetch_step, "FETCH_RETRY_DELAYS", (0.001,) * 3)
    monkeypatch.setattr(interruptible_waits, "_FIRST_PAUSE_S", 0.001)


def fetch(blobs, *responses, ttl_s=60.0, allowed=True):
    """Fetch from a server that sends these responses in order. Returns the result and the request heads."""
    left = list(responses)

    async def answer(head, reader, writer):
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    async def run():
        async with serving(answer) as (port, heads):
            policy = FetchPolicy(allow=(HostRule("127.0.0.1", port=port),) if allowed else ())
            step = FetchStep(InterruptibleWaits(), FetchClient(policy), blobs, ttl_s)
            try:
                return await step.run("job", SPEC, f"http://127.0.0.1:{port}/a.png"), heads
            except (FetchFailed, UrlRefused) as error:
                return error, heads

    return asyncio.run(run())


@pytest.mark.parametrize("ttl_s", [60.0, 2.0 * LEASE_S])
def test_image_is_stored_for_the_waiting_job(tmp_path, ttl_s):
    blobs = FolderBlobs(tmp_path, 1_000_000)
    size, heads = fetch(blobs, ok(IMAGE), ttl_s=ttl_s)
    stored = blobs.get(input_key("job", SPEC))
    assert (size, stored.data, len(heads)) == (len(IMAGE), IMAGE, 1)
    assert abs(stored.stat.expires_at - time.time() - max(LEASE_S, ttl_s)) < 600


def test_temporary_failures_are_retried(tmp_path):
    blobs = FolderBlobs(tmp_path, 1_000_000)
    size, heads = fetch(blobs, UNAVAILABLE, UNAVAILABLE, ok(IMAGE))
    assert (size, len(heads)) == (len(IMAGE), 3)
    assert blobs.get(input_key("job", SPEC)).data == IMAGE


@pytest.mark.parametrize(("response", "attempts"), [(UNAVAILABLE, 4), (MISSING, 1)])
def test_failed_download_stores_nothing(tmp_path, response, attempts):
    blobs = FolderBlobs(tmp_path, 1_000_000)
    error, heads = fetch(blobs, response)
    assert (type(error), error.role, len(heads)) == (FetchFailed, "image", attempts)
    with pytest.raises(KeyError):
        blobs.get(input_key("job", SPEC))


def test_refused_url_is_not_requested(tmp_path):
    error, heads = fetch(FolderBlobs(tmp_path, 1_000_000), ok(IMAGE), allowed=False)
    assert (type(error), heads) == (UrlRefused, [])


def test_failing_store_is_retried_without_a_second_download(tmp_path):
    blobs = FailingOnce(tmp_path, 1_000_000)
    size, heads = fetch(blobs, ok(IMAGE))
    assert (size, len(heads), blobs.failed) == (len(IMAGE), 1, True)
    assert blobs.get(input_key("job", SPEC)).data == IMAGE


def test_account_has_a_limited_number_of_downloads(tmp_path):
    """One account with slow servers leaves slots to others."""

    async def run():
        gate, running = asyncio.Event(), 0

        async def answer(head, reader, writer):
            nonlocal running
            running += 1
            await gate.wait()
            await bytes_of(ok(IMAGE))(head, reader, writer)

        async with serving(answer) as (port, _):
            fetcher = FetchClient(FetchPolicy(allow=(HostRule("127.0.0.1", port=port),)))
            waits = InterruptibleWaits()
            step = FetchStep(waits, fetcher, FolderBlobs(tmp_path, 10_000_000), 60)
            url = f"http://127.0.0.1:{port}/a.png"
            # Without an account, the first letter of the job's id is its partition.
            jobs = [asyncio.create_task(step.run(f"a{number}", SPEC, url)) for number in range(20)]
            other = asyncio.create_task(step.run("b", SPEC, url))
            await until(lambda: running + len(waits._idle) == 21)  # each job downloads or waits for a slot
            most = running
            gate.set()
            assert await asyncio.gather(*jobs, other) == [len(IMAGE)] * 21
            return most

    assert asyncio.run(run()) == fetch_step.MAX_FETCHES_PER_ACCOUNT + 1
