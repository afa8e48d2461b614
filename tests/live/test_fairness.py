"""One account must not use up what others need: slots, jobs, webhooks, storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy import text

from clearcut.accounts.keys import parse_key_id
from tests.support.accounts import PICTURE, Accounts
from tests.support.senders import Outside, outside
from tests.support.served import Server, served
from tests.support.wire import Wire, multipart

pytestmark = pytest.mark.live

UPLOADS = ("/v1/remove", "/v1.0/removebg", "/api/remove", "/v1/segment", "/v1.0/improve", "/api/v1/remove-bg",
           "/v2/images/background-remove", "/v1/prediction/")  # fmt: skip


@dataclass
class Service:
    server: Server
    outside: Outside
    accounts: Accounts


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fairness")
    accounts = Accounts(f"sqlite:///{folder}/keys.db")
    with outside() as here:
        environ = {
            "jobs": "sqlite", "data_dir": str(folder / "data"), "fetch_allow": here.allow,
            "database_url": accounts.url, "slots": "4", "allow_anonymous": "true",
        }  # fmt: skip
        with served(**environ) as server:
            yield Service(server, here, accounts)
    accounts.close()


def begin(wire: Wire, path: str, key: str) -> None:
    """Return the header section of an upload and the beginning of its body. The rest never follows."""
    body, kind = multipart(PICTURE)
    head = f"POST {path} HTTP/1.1\r\nHost: clearcut\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    wire.send(f"{head}x-api-key: {key}\r\n\r\n".encode() + body[:200])


def until_slot_used(server: Server) -> None:
    deadline = time.monotonic() + 10
    while "clearcut_slots_used 0.0" in httpx.get(f"{server.base_url}/metrics", trust_env=False).text:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("path", UPLOADS)
def test_key_without_credits_is_refused_before_its_body(service, path):
    (key,) = service.accounts.make(1, 0)
    with ExitStack() as stack:
        for _ in range(5):
            wire = stack.enter_context(Wire(service.server.port, 5))
            begin(wire, path, key)
            assert wire.answer().status == 402


@pytest.mark.parametrize("path", UPLOADS)
def test_concurrency_limit_holds_while_a_body_arrives(service, path):
    (key,) = service.accounts.make(1, 5, concurrent=1)
    with Wire(service.server.port) as first, Wire(service.server.port, 5) as second:
        begin(first, "/v1/remove", key)
        until_slot_used(service.server)
        begin(second, path, key)
        assert second.answer().status == 429


def order(service: Service, key: str, path: str = "/photo.jpg", **more: str) -> str:
    """Create a job and return its id."""
    body = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": service.outside.base_url + path}} | more
    answer = httpx.post(
        f"{service.server.base_url}/v1/prediction/", json=body, headers={"x-api-key": key}, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["predictionID"]


def apiframe(service: Service, key: str, path: str, **more: str) -> str:
    """Create a job as ``order`` does, with an API without a limit of unfinished jobs."""
    params = {"image": service.outside.base_url + path}
    body = {"model": "851-bg-remove", "lab851BgRemoveParams": params} | more
    url = f"{service.server.base_url}/v2/images/background-remove"
    answer = httpx.post(url, json=body, headers={"x-api-key": key}, trust_env=False)
    assert answer.status_code == 202, answer.text
    return answer.json()["jobId"]


def status(service: Service, key: str, job: str) -> str:
    url = f"{service.server.base_url}/v2/jobs/{job}"
    return httpx.get(url, headers={"x-api-key": key}, trust_env=False).json()["status"]


def finished(service: Service, key: str, job: str, seconds: float = 60) -> dict[str, object]:
    deadline = time.monotonic() + seconds
    url = f"{service.server.base_url}/v1/prediction/{job}"
    while True:
        body = httpx.get(url, headers={"x-api-key": key}, trust_env=False).json()
        if body["status"] != "processing":
            return body
        assert time.monotonic() < deadline, body
        time.sleep(0.02)


def test_jobs_count_as_megapixels(service):
    (key,) = service.accounts.make(1, 5, megapixels_per_minute=1)
    if (left := 60 - time.time() % 60) < 10:  # the count decays in the next minute
        time.sleep(left)
    assert finished(service, key, order(service, key))["status"] == "success"
    headers = {"x-api-key": key, "content-type": "image/png"}
    answer = httpx.post(f"{service.server.base_url}/v1/remove", content=PICTURE, headers=headers, trust_env=False)
    assert answer.status_code == 429


def test_slow_urls_of_one_account_do_not_delay_others(service):
    """The jobs of the first account wait for a failing server. The service retries it for twenty seconds."""
    busy, other = service.accounts.make(2, 100)
    service.outside.statuses["/slow.jpg"] = 503
    slow = [apiframe(service, busy, "/slow.jpg") for _ in range(40)]
    job = order(service, other)
    assert finished(service, other, job, seconds=15)["status"] == "success"
    assert status(service, busy, slow[-1]) == "QUEUED"


def test_jobs_that_wait_for_quotas_do_not_delay_others(service):
    *busy, other = service.accounts.make(5, 100)
    with service.accounts.engine.begin() as connection:
        words = "update keys set megapixels_per_minute = 1 where id != :other"
        connection.execute(text(words), {"other": parse_key_id(other)})
    for key in busy:
        for _ in range(10):
            apiframe(service, key, "/photo.jpg")
    time.sleep(1)
    for _ in range(3):
        assert finished(service, other, order(service, other), seconds=10)["status"] == "success"


def test_slow_urls_of_callers_without_key_do_not_delay_accounts(service):
    (other,) = service.accounts.make(1, 100)
    service.outside.statuses["/slow.jpg"] = 503
    for _ in range(128):
        apiframe(service, "", "/slow.jpg")
    time.sleep(1)
    assert finished(service, other, order(service, other), seconds=10)["status"] == "success"


def test_stalling_webhooks_of_one_account_do_not_delay_others(service):
    busy, other = service.accounts.make(2, 100)
    hook, release = service.outside.base_url, threading.Event()

    def answer(path: str, _: int) -> int:
        if path == "/stall":
            release.wait(25)
        return 204

    service.outside.answer = answer
    try:
        jobs = [apiframe(service, busy, "/photo.jpg", webhook_url=f"{hook}/stall") for _ in range(40)]
        deadline = time.monotonic() + 60
        while status(service, busy, jobs[-1]) != "COMPLETED":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finished(service, other, order(service, other, webhook_url=f"{hook}/other"))
        deadline = time.monotonic() + 15
        while not any(path == "/other" for path, _, _ in service.outside.calls):
            assert time.monotonic() < deadline, "the webhook waits for those of another account"
            time.sleep(0.05)
    finally:
        release.set()
