"""A job's steps when something of ours is away or at fault: no step may end without an outcome."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from clearcut.admission.active_requests import ActiveRequests
from clearcut.errors import FetchFailed, RateLimited, Unavailable
from clearcut.imaging.options import RemoveOptions
from clearcut.jobs import steps
from clearcut.jobs.models import JobSpec, Outcome, input_key
from clearcut.jobs.steps import JobSteps
from clearcut.jobs.throttle import JobThrottle
from clearcut.observability.metrics import Metrics
from clearcut.storage.local import FolderBlobs
from tests.support.clock import FakeClock

ORDER = JobSpec(
    dialect="apiframe", options=RemoveOptions(), field="image", accepted=0.0, base="http://here", request_id="req_1",
    fingerprint=64 * "0", account="a", cost=1, url="https://example.com/a.jpg",
)  # fmt: skip


class Faulty:
    """A ledger, a store and a fetcher in one: each call raises what is left of ``faults``, then does nothing."""

    enabled = True

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.settled: list[bool] = []

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    async def settle_job(self, charge: object, succeeded: bool) -> None:
        self._fail()
        self.settled.append(succeeded)

    async def get(self, url: str, *, role: str) -> Any:
        self._fail()

    def delete(self, key: str) -> None:
        self._fail()


def made(access: Faulty, blobs: Any, fetcher: Faulty, ttl_s: float = 60.0) -> JobSteps:
    any_: Any = None
    lane = JobThrottle(ActiveRequests(), width=1, room=1)
    ends: list[float] = []
    return JobSteps(
        any_, access, blobs, fetcher, Metrics(), lane, ttl_s, {}, lambda job: None, lambda account: [], ends.append  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_fault_of_ours_in_a_fetch_is_a_failed_job():
    made_here = made(Faulty(), Faulty(), Faulty(RuntimeError("a library's")))
    found = asyncio.run(made_here.fetch("id", ORDER))
    assert (found["ok"], found["reason"], found["message"]) == (False, "internal", "Internal server error")


@pytest.mark.parametrize(("answers_after_s", "attempts"), [(0.0, 4), (15.0, 2), (30.0, 1)])
def test_a_server_at_fault_is_asked_again_only_while_there_is_patience(monkeypatch, answers_after_s, attempts):
    clock = FakeClock(0.0)
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=clock, time=time.time))
    asked: list[str] = []

    class Away(Faulty):
        async def get(self, url: str, *, role: str) -> Any:
            asked.append(url)
            clock.now += answers_after_s
            raise FetchFailed(role, "the server returned 503", temporary=True)

    made_here = made(Faulty(), Faulty(), Away())

    async def pass_by(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(made_here, "_pause", pass_by)
    found = asyncio.run(made_here.fetch("id", ORDER))
    assert (found["ok"], found["reason"]) == (False, "fetch_failed")
    assert len(asked) == attempts


@pytest.mark.parametrize("exceeded", [2, 10_000])
def test_job_waits_while_megapixel_quota_is_exceeded(monkeypatch, exceeded):
    """The job fails with the quota's message if that takes longer than a step may be retried."""
    clock = FakeClock(0.0)
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=clock, time=time.time))
    made_here, tried = made(Faulty(), Faulty(), Faulty()), 0

    async def cut_out(job_id: str, order: JobSpec) -> Outcome:
        nonlocal tried
        tried += 1
        if tried <= exceeded:
            raise RateLimited("At most 1 megapixels a minute", retry_after=60)
        return Outcome(True, 1.0)

    async def pass_by(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(made_here, "_cut_out", cut_out)
    monkeypatch.setattr(made_here, "_pause", pass_by)
    found = asyncio.run(made_here.process("id", ORDER, 0))
    assert (found["ok"], clock.now) == ((True, 120.0) if exceeded == 2 else (False, steps.PATIENCE_S))
    assert found.get("reason") == (None if exceeded == 2 else "rate_limited")


def test_credits_are_settled_however_long_the_accounts_are_away(monkeypatch):
    monkeypatch.setattr(steps, "PATIENCE_S", 0.0)
    access = Faulty(Unavailable("away"))
    asyncio.run(made(access, Faulty(), Faulty()).close("id", ORDER, Outcome(True, 1.0)))
    assert access.settled == [True]


def test_input_outlives_outputs_while_its_job_waits(tmp_path):
    """Outputs are stored for an hour here; the job waits for longer, and fails."""
    clock = FakeClock(time.time())
    blobs = FolderBlobs(tmp_path, 10_000, clock)

    class Host(Faulty):
        async def get(self, url: str, *, role: str) -> Any:
            return SimpleNamespace(data=b"an image")

    made_here = made(Faulty(), blobs, Host(), ttl_s=3600.0)
    asyncio.run(made_here.fetch("id", ORDER))
    key = input_key("id", ORDER)
    clock.now += 2 * 86_400
    blobs.sweep(clock.now)
    assert blobs.get(key).data == b"an image"
    clock.now = time.time()
    asyncio.run(made_here.close("id", ORDER, Outcome(False, 1.0)))
    assert blobs.stat(key).expires_at < time.time() + 3601
    asyncio.run(made_here.fetch("id", ORDER))
    asyncio.run(made_here.close("id", ORDER, Outcome(True, 1.0)))
    with pytest.raises(KeyError):
        blobs.get(key)


@pytest.mark.parametrize("fault", [OSError("disk"), Unavailable("bucket")])
def test_a_picture_that_cannot_be_dropped_is_no_failed_job(fault):
    access = Faulty()
    asyncio.run(made(access, Faulty(fault), Faulty()).close("id", ORDER, Outcome(True, 1.0)))
    assert access.settled == [True]
