"""The steps of a job during failures of databases, stores and servers: every job ends with an outcome."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from clearcut.admission.active_requests import ActiveRequests
from clearcut.errors import FetchFailed, RateLimited, Unavailable
from clearcut.imaging.options import RemoveOptions
from clearcut.jobs import cutout_step, fetch_step, interruptible_waits
from clearcut.jobs.cutout_step import CutoutStep
from clearcut.jobs.fetch_step import FetchStep
from clearcut.jobs.interruptible_waits import RETRY_TIMEOUT_S, InterruptibleWaits
from clearcut.jobs.steps import JobSteps
from clearcut.jobs.throttle import JobThrottle
from clearcut.jobs.types import JobSpec, Outcome, input_key
from clearcut.jobs.webhook_step import WebhookStep
from clearcut.observability.metrics import Metrics
from clearcut.storage.local import FolderBlobs
from tests.support.clock import FakeClock

SPEC = JobSpec(
    dialect="apiframe", options=RemoveOptions(), field="image", accepted=0.0, base="http://clearcut", request_id="req",
    fingerprint=64 * "0", account="a", cost=1, url="https://example.com/a.jpg",
)  # fmt: skip


class Failing:
    """An account service, store and fetch client. Each call raises the next of ``errors``, later ones do nothing."""

    enabled = True

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.settled: list[bool] = []

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    @property
    def job_charges(self) -> Failing:
        return self

    async def settle(self, charge: object, succeeded: bool) -> None:
        self._fail()
        self.settled.append(succeeded)

    async def get(self, url: str, *, role: str) -> Any:
        self._fail()

    def delete(self, key: str) -> None:
        self._fail()


def new_steps(accounts: Failing, blobs: Any, fetcher: Failing, ttl_s: float = 60.0) -> JobSteps:
    any_: Any = None
    throttle = JobThrottle(ActiveRequests(), max_jobs=1, max_requests=1)
    finished: list[float] = []
    waits, metrics = InterruptibleWaits(), Metrics()
    return JobSteps(
        FetchStep(waits, fetcher, blobs, ttl_s),  # type: ignore[arg-type]
        CutoutStep(waits, any_, accounts, blobs, throttle, ttl_s),  # type: ignore[arg-type]
        WebhookStep(waits, fetcher, metrics, {}, lambda job: None, lambda account: []),  # type: ignore[arg-type]
        waits, accounts, blobs, metrics, ttl_s, finished.append,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch) -> FakeClock:
    """The clock of all steps; a wait only advances it."""
    clock = FakeClock(0.0)
    for module in (cutout_step, fetch_step, interruptible_waits):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock, time=time.time))

    async def sleep(waits: InterruptibleWaits, seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(InterruptibleWaits, "sleep", sleep)
    return clock


def test_internal_error_in_fetch_fails_the_job():
    job_steps = new_steps(Failing(), Failing(), Failing(RuntimeError("of a library")))
    found = asyncio.run(job_steps.fetch("id", SPEC))
    assert (found["ok"], found["reason"], found["message"]) == (False, "internal", "Internal server error")


@pytest.mark.parametrize(("response_s", "attempts"), [(0.0, 4), (15.0, 2), (30.0, 1)])
def test_temporary_fetch_failures_are_retried_for_a_while(clock, response_s, attempts):
    urls: list[str] = []

    class Unreachable(Failing):
        async def get(self, url: str, *, role: str) -> Any:
            urls.append(url)
            clock.now += response_s
            raise FetchFailed(role, "the server returned 503", temporary=True)

    job_steps = new_steps(Failing(), Failing(), Unreachable())
    found = asyncio.run(job_steps.fetch("id", SPEC))
    assert (found["ok"], found["reason"]) == (False, "fetch_failed")
    assert len(urls) == attempts


@pytest.mark.parametrize("exceeded", [2, 10_000])
def test_job_waits_while_megapixel_quota_is_exceeded(monkeypatch, clock, exceeded):
    """The job fails with the error of the quota if it waits longer than a step is retried."""
    job_steps, attempts = new_steps(Failing(), Failing(), Failing()), 0

    async def cut_out(step: CutoutStep, job_id: str, spec: JobSpec) -> Outcome:
        nonlocal attempts
        attempts += 1
        if attempts <= exceeded:
            raise RateLimited("At most 1 megapixels a minute", retry_after=60)
        return Outcome(True, 1.0)

    monkeypatch.setattr(CutoutStep, "_cut_out", cut_out)
    found = asyncio.run(job_steps.process("id", SPEC, 0))
    assert (found["ok"], clock.now) == ((True, 120.0) if exceeded == 2 else (False, RETRY_TIMEOUT_S))
    assert found.get("reason") == (None if exceeded == 2 else "rate_limited")


def test_settling_credits_is_retried_without_limit(clock):
    accounts = Failing(*(Unavailable("unreachable") for _ in range(200)))
    asyncio.run(new_steps(accounts, Failing(), Failing()).finish("id", SPEC, Outcome(True, 1.0)))
    assert accounts.settled == [True]
    assert clock.now > RETRY_TIMEOUT_S


def test_input_outlives_outputs_while_its_job_waits(tmp_path):
    """Outputs are stored for an hour; the job waits longer and fails."""
    clock = FakeClock(time.time())
    blobs = FolderBlobs(tmp_path, 10_000, clock)

    class Server(Failing):
        async def get(self, url: str, *, role: str) -> Any:
            return SimpleNamespace(data=b"an image")

    job_steps = new_steps(Failing(), blobs, Server(), ttl_s=3600.0)
    asyncio.run(job_steps.fetch("id", SPEC))
    key = input_key("id", SPEC)
    clock.now += 2 * 86_400
    blobs.sweep(clock.now)
    assert blobs.get(key).data == b"an image"
    clock.now = time.time()
    asyncio.run(job_steps.finish("id", SPEC, Outcome(False, 1.0)))
    assert blobs.stat(key).expires_at < time.time() + 3601
    asyncio.run(job_steps.fetch("id", SPEC))
    asyncio.run(job_steps.finish("id", SPEC, Outcome(True, 1.0)))
    with pytest.raises(KeyError):
        blobs.get(key)


@pytest.mark.parametrize("error", [OSError("disk"), Unavailable("bucket")])
def test_job_succeeds_if_its_input_cannot_be_deleted(error):
    accounts = Failing()
    asyncio.run(new_steps(accounts, Failing(error), Failing()).finish("id", SPEC, Outcome(True, 1.0)))
    assert accounts.settled == [True]
