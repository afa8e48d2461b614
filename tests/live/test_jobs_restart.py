"""Servers are killed with hundreds of running jobs: every job completes, is charged and is reported once.

`make test-jobs` runs it. The part that needs PostgreSQL skips where it is not installed.
"""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support import samples
from tests.support.account_clients import Accounts
from tests.support.callback_server import CallbackServer, callback_server
from tests.support.databases import postgres
from tests.support.live_server import ROOT, Server, environment

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]

LARGE = samples.jpeg(np.tile(samples.photo("coffee"), (3, 3, 1)))
"""Image that takes longer to process than to submit, so that a backlog builds up."""
SMALL = samples.jpeg(samples.photo("coffee")[::2, ::2])
NEAR_A_KILL_S = 3.0
"""Only webhooks this close to a kill, in seconds, may be sent twice, because the kill can lose their record."""


@dataclass
class JobClient:
    """Submits jobs, each with its own Idempotency-Key and webhook, and checks their results."""

    callbacks: CallbackServer
    accounts: Accounts
    key: str
    image: str
    jobs: dict[int, str] = field(default_factory=dict)
    kills: list[float] = field(default_factory=list)

    def submit(self, server: Server, number: int) -> None:
        """Submit a job and retry until 202, because the server may be down."""
        address = f"{self.callbacks.base_url}/{self.image}?number={number}"
        submit = {
            "model": "851-bg-remove",
            "lab851BgRemoveParams": {"image": address},
            "webhook_url": f"{self.callbacks.base_url}/hook/{number}",
        }
        headers = {"x-api-key": self.key, "idempotency-key": f"order-{number}"}
        url = f"{server.base_url}/v2/images/background-remove"
        response = httpx.post(url, json=submit, headers=headers, timeout=60, trust_env=False)
        assert response.status_code == 202, response.text
        assert self.jobs.setdefault(number, response.json()["jobId"]) == response.json()["jobId"]

    def order_all(self, server: Server, count: int) -> None:
        for number in range(count):
            self.submit(server, number)

    def kill(self, server: Server, number: int = signal.SIGKILL) -> None:
        self.kills.append(time.time())
        server.signal(number)
        server.process.wait(60)
        server.kill()

    @property
    def webhooks(self) -> Counter[str]:
        return Counter(path for path, _, _ in self.callbacks.calls)

    def wait_for_webhooks(self, count: int, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while len(self.webhooks) < count:
            assert time.monotonic() < deadline, f"{len(self.webhooks)} of {count} were reported"
            time.sleep(0.1)

    def check(self, server: Server, killed_acceptances: int = 0) -> dict[str, object]:
        """Check that every job completed, with an image, one webhook (two only near a kill) and one charge.

        A killed acceptance can leave a reservation, which expires. There are at most ``killed_acceptances`` of them.
        """
        count = len(self.jobs)
        images = set()
        with httpx.Client(base_url=server.base_url, timeout=60, trust_env=False) as client:
            deadline = time.monotonic() + 120
            for number, job in self.jobs.items():
                while True:
                    body = client.get(f"/v2/jobs/{job}", headers={"x-api-key": self.key}).json()
                    if body["status"] == "COMPLETED" and body["webhookStatus"] == "sent":
                        break
                    assert time.monotonic() < deadline, (number, body)
                    time.sleep(0.1)
                images.add(client.get(body["result"]["images"][0].replace(_base(body), "")).raise_for_status().content)
        assert len(set(self.jobs.values())) == count
        assert len(images) == 1, "the same photo gives the same image on every node"
        assert sorted(self.webhooks) == sorted(f"/hook/{number}" for number in self.jobs)
        twice = [path for path, calls in self.webhooks.items() if calls > 1]
        for path in twice:
            first = next(
                at
                for (where, _, _), at in zip(self.callbacks.calls, self.callbacks.times, strict=True)
                if where == path
            )
            assert any(first - 0.1 <= kill <= first + NEAR_A_KILL_S for kill in self.kills), (path, first, self.kills)
        states = self.accounts.states()
        leaked = states.pop("expired", 0) + states.pop("reserved", 0)
        assert leaked <= killed_acceptances
        assert states == {"charged": count}
        assert self.accounts.used([self.key]) == [count]
        return {"jobs": count, "kills": len(self.kills), "webhooks": sum(self.webhooks.values()), "twice": len(twice)}


def _base(body: dict) -> str:
    return body["result"]["images"][0].partition("/outputs/")[0]


@contextmanager
def job_client(database_url: str, credits: int, image: str = "small.jpg") -> Iterator[JobClient]:
    accounts = Accounts(database_url)
    (key,) = accounts.make(1, credits)
    with callback_server(**{"small.jpg": SMALL, "large.jpg": LARGE}) as callbacks:
        yield JobClient(callbacks, accounts, key, image)
    accounts.close()


@contextmanager
def running(**environ: str) -> Iterator[Server]:
    server = Server(**environ)
    try:
        yield server.listening().ready()
    finally:
        server.kill()


def settings(queue: str, folder: Path, jobs: JobClient) -> dict[str, str]:
    """Return the settings of a server that processes the jobs of a client."""
    return {
        "jobs": queue, "data_dir": str(folder / "data"), "database_url": jobs.accounts.url,
        "fetch_allow": jobs.callbacks.allow,
    }  # fmt: skip


def test_500_jobs_survive_five_kills(tmp_path: Path):
    count, chance = 500, random.Random(8)
    database = f"sqlite:///{tmp_path}/keys.db"
    kills = (83, 207, 391)
    with job_client(database, count + len(kills)) as jobs, ExitStack() as stack:
        environ = settings("sqlite", tmp_path, jobs)
        server = stack.enter_context(running(**environ))
        # Three kills at random moments while jobs are submitted, and two while the backlog is processed.
        for number in range(count):
            if number in kills:
                threading.Timer(0.3 * chance.random(), jobs.kill, [server]).start()
            try:
                jobs.submit(server, number)
            except httpx.HTTPError:
                server.process.wait(60)
                server = stack.enter_context(running(**environ))
                jobs.submit(server, number)
        for _ in range(2):
            done = len(jobs.webhooks)
            jobs.wait_for_webhooks(min(count - 10, done + chance.randrange(10, 60)))
            time.sleep(chance.random())
            jobs.kill(server)
            server = stack.enter_context(running(**environ))
        assert len(jobs.kills) == 5
        jobs.wait_for_webhooks(count)
        print(jobs.check(server, killed_acceptances=len(kills)))
        assert server.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_backlog_survives_loss_of_one_of_two_nodes(tmp_path: Path, how: int):
    count = 120
    with postgres() as database, job_client(database, count, "large.jpg") as jobs, ExitStack() as stack:
        environ = settings("postgresql", tmp_path, jobs)
        first, second = (stack.enter_context(running(**environ)) for _ in range(2))
        with ThreadPoolExecutor(8) as many:
            list(many.map(lambda number: jobs.submit((first, second)[number % 2], number), range(count)))
        by_node = [sum(line["event"] == "job" for line in node.log) for node in (first, second)]
        assert min(by_node) > 0, by_node
        assert sum(by_node) < count - 20, "there is a backlog left to share"
        jobs.kill(first, how)
        jobs.wait_for_webhooks(count)
        print(jobs.check(second), "done by each before one ended:", by_node)
        command = [sys.executable, "-m", "clearcut", "jobs", "list", "--state", "completed", "--limit", "1000"]
        process = subprocess.run(
            command, cwd=ROOT, env=environment(**environ), capture_output=True, text=True, check=True
        )
        assert len(process.stdout.splitlines()) == count
        assert second.stop() == 0


def test_stopped_jobs_continue_after_restart(tmp_path: Path):
    count = 60
    database = f"sqlite:///{tmp_path}/keys.db"
    kills = (83, 207, 391)
    with job_client(database, count + len(kills)) as jobs, ExitStack() as stack:
        environ = settings("sqlite", tmp_path, jobs)
        server = stack.enter_context(running(**environ))
        jobs.order_all(server, count)
        assert len(jobs.webhooks) < count
        assert server.stop() == 0
        left = count - len(jobs.webhooks)
        assert left > 0
        server = stack.enter_context(running(**environ))
        jobs.wait_for_webhooks(count)
        print(jobs.check(server), "left at the stop:", left)
        assert max(jobs.webhooks.values()) == 1, "a stopped server records the webhooks that it sent"
        assert server.stop() == 0


def test_idempotency_key_is_one_job_on_two_nodes(tmp_path: Path):
    """With two images under one key, the first stored one is processed."""
    images = [samples.png(np.full((40 + 10 * number, 60, 3), 90, np.uint8)) for number in range(2)]
    with postgres() as database, job_client(database, 100) as jobs, ExitStack() as stack:
        environ = {"jobs": "postgresql", "data_dir": str(tmp_path / "data"), "database_url": database}
        nodes = [stack.enter_context(running(**environ)) for _ in range(2)]
        for attempt in range(8):

            def submit(number: int, attempt: int = attempt) -> httpx.Response:
                headers = {"x-api-key": jobs.key, "idempotency-key": f"both-{attempt}"}
                url = f"{nodes[number % 2].base_url}/api/v1/remove-bg"
                files = {"image_file": images[number % 2]}
                return httpx.post(url, files=files, headers=headers, timeout=60, trust_env=False)

            with ThreadPoolExecutor(6) as many:
                responses = list(many.map(submit, range(6)))
            taken = [response.status_code == 202 for response in responses]
            assert {response.status_code for response in responses} == {202, 422}
            first = taken.index(True) % 2
            assert taken == [number % 2 == first for number in range(6)]
            (job,) = {response.json()["jobId"] for response in responses if response.status_code == 202}
            with httpx.Client(headers={"x-api-key": jobs.key}, timeout=60, trust_env=False) as client:
                deadline = time.monotonic() + 60
                while (body := client.get(f"{nodes[0].base_url}/api/v1/jobs/{job}").json())["status"] == "processing":
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                image_data = client.get(body["outputUrl"]).raise_for_status().content
            assert Image.open(io.BytesIO(image_data)).size == (60, 40 + 10 * first)
        states = jobs.accounts.states()
        assert (states["charged"], states["reserved"]) == (8, 0)
