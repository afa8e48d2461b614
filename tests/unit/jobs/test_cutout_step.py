"""The cut-out of a job: a real pipeline with a fake model, and a real folder."""

from __future__ import annotations

import asyncio
import io
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from clearcut.accounts.keys import Quotas
from clearcut.admission.active_requests import ActiveRequests
from clearcut.errors import CorruptImage, RateLimited
from clearcut.imaging.options import RemoveOptions
from clearcut.jobs import interruptible_waits
from clearcut.jobs.cutout_step import CutoutStep
from clearcut.jobs.interruptible_waits import InterruptibleWaits
from clearcut.jobs.throttle import JobThrottle
from clearcut.jobs.types import JobSpec, input_key
from clearcut.storage.local import FolderBlobs
from tests.support.clock import FakeClock
from tests.support.cutouts import SUBJECT, sample_image
from tests.support.fakes import stage


def spec(account=None, **options):
    return JobSpec(
        dialect="apiframe", options=RemoveOptions(**options), field="image", accepted=0.0, base="http://clearcut",
        request_id="req", fingerprint=64 * "0", account=account,
    )  # fmt: skip


class Recording(InterruptibleWaits):
    """Records the seconds of each sleep, and does not wait."""

    def __init__(self):
        super().__init__()
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        if len(self.slept) == 3:
            raise asyncio.CancelledError


class FailingOnce(FolderBlobs):
    """A folder on a disk that fails at the first output."""

    failed = False

    def put(self, key, *arguments):
        if not self.failed and not key.endswith(".in"):
            self.failed = True
            raise OSError("disk")
        return super().put(key, *arguments)


@pytest.fixture
def blobs(tmp_path):
    return FolderBlobs(tmp_path / "blobs", 100_000_000)


@pytest.fixture
def rate_limit_clock(monkeypatch):
    """The clock of the rate limits, 20 seconds into a minute. No minute ends during a test."""
    clock = FakeClock(time.time() // 60 * 60 + 20)
    for module in ("limits.aio.storage.memory", "limits.aio.strategies", "clearcut.accounts.rate_limits"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=clock))
    return clock


def new_step(on, blobs, waits=None):
    throttle = JobThrottle(ActiveRequests(), max_jobs=1, max_requests=1)
    return CutoutStep(waits or InterruptibleWaits(), on.service.pipeline, on.service.accounts, blobs, throttle, 600)


def cut_out(blobs, job, image=None):
    """Store the image, run the step and return its outcome."""

    async def run():
        async with stage() as on:
            if image is not None:
                blobs.put(input_key("job", job), image, "application/octet-stream", time.time() + 60)
            return await new_step(on, blobs).run("job", job)

    return asyncio.run(run())


def test_cutout_is_stored_with_its_outcome(blobs):
    outcome = cut_out(blobs, spec(), sample_image())
    stored = blobs.get(outcome.output)
    assert abs(stored.stat.expires_at - time.time() - 600) < 300
    assert (outcome.ok, outcome.output, outcome.media_type) == (True, "job.png", "image/png")
    assert stored.stat.media_type == "image/png"
    assert (outcome.width, outcome.height, outcome.model, outcome.moderation) == (80, 60, "fake", None)
    pixels = np.asarray(Image.open(io.BytesIO(stored.data)))
    assert pixels.shape == (60, 80, 4)
    assert (pixels[30, 40] == (*SUBJECT, 255)).all()
    assert not pixels[:10].any()


def test_options_of_the_job_apply(blobs):
    outcome = cut_out(blobs, spec(format="jpg", background=(255, 255, 255, 255), max_side=40), sample_image())
    pixels = np.asarray(Image.open(io.BytesIO(blobs.get("job.jpg").data)))
    assert (outcome.output, outcome.media_type, outcome.width) == ("job.jpg", "image/jpeg", 40)
    assert pixels.shape == (30, 40, 3)
    assert pixels[0, 0].min() > 250


def test_expired_input_is_reported(blobs):
    with pytest.raises(KeyError):
        cut_out(blobs, spec())


def test_unreadable_image_stores_no_output(blobs):
    with pytest.raises(CorruptImage):
        cut_out(blobs, spec(), sample_image()[:-40])
    with pytest.raises(KeyError):
        blobs.get("job.png")


def test_failing_store_repeats_no_cutout(tmp_path, monkeypatch):
    monkeypatch.setattr(interruptible_waits, "_FIRST_PAUSE_S", 0.001)
    blobs = FailingOnce(tmp_path, 1_000_000)
    assert cut_out(blobs, spec(), sample_image()).ok
    assert blobs.failed
    assert blobs.get("job.png").stat.media_type == "image/png"


def test_job_waits_for_its_megapixel_quota(blobs, tmp_path, rate_limit_clock):
    """The second image exceeds the account's megapixel a minute; the wait is the time until it is available."""

    async def run():
        async with stage(database_url=f"sqlite:///{tmp_path}/keys.db") as on:
            ledger = on.service.accounts._ledger
            await ledger.call(lambda ledger: ledger.create("a", "prepaid", 9, Quotas(megapixels_per_minute=1)))
            (usage,) = await ledger.call(lambda ledger: ledger.list_usage())
            job, waits = spec(usage.account.id), Recording()
            blobs.put(input_key("job", job), sample_image(), "application/octet-stream", time.time() + 60)
            step = new_step(on, blobs, waits)
            assert (await step.run("job", job)).ok
            assert waits.slept == []
            with pytest.raises(asyncio.CancelledError):
                await step.run("job", job)
            return waits.slept

    assert asyncio.run(run()) == [40, 40, 40]


def test_wait_beyond_step_limit_fails(blobs, tmp_path, monkeypatch, rate_limit_clock):
    monkeypatch.setattr("clearcut.jobs.cutout_step.RETRY_TIMEOUT_S", 0.5)

    async def run():
        async with stage(database_url=f"sqlite:///{tmp_path}/keys.db") as on:
            ledger = on.service.accounts._ledger
            await ledger.call(lambda ledger: ledger.create("a", "prepaid", 9, Quotas(megapixels_per_minute=1)))
            (usage,) = await ledger.call(lambda ledger: ledger.list_usage())
            job = spec(usage.account.id)
            blobs.put(input_key("job", job), sample_image(), "application/octet-stream", time.time() + 60)
            megapixels = on.service.accounts.quotas.megapixels(usage.account)
            await megapixels.count(1_000_000)
            with pytest.raises(RateLimited, match="1 megapixels"):
                await new_step(on, blobs).run("job", job)

    asyncio.run(run())
