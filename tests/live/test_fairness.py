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
from tests.support.account_clients import IMAGE, Accounts
from tests.support.callback_server import CallbackServer, callback_server
from tests.support.live_server import Server, served
from tests.support.raw_http import RawConnection, multipart

pytestmark = pytest.mark.live

UPLOADS = ("/v1/remove", "/v1.0/removebg", "/api/remove", "/v1/segment", "/v1.0/improve", "/api/v1/remove-bg",
           "/v2/images/background-remove", "/v1/prediction/")  # fmt: skip


@dataclass
class Service:
    server: Server
    callback_server: CallbackServer
    accounts: Accounts


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fairness")
    accounts = Accounts(f"sqlite:///{folder}/keys.db")
    with callback_server() as callbacks:
        environ = {
            "jobs": "sqlite", "data_dir": str(folder / "data"), "fetch_allow": callbacks.allow,
            "database_url": accounts.url, "slots": "4", "allow_anonymous": "true",
        }  # fmt: skip
        with served(**environ) as server:
            yield Service(server, callbacks, accounts)
    accounts.close()


def begin(connection: RawConnection, path: str, key: str) -> None:
    """Return the header section of an upload and the beginning of its body. The rest never follows."""
    body, kind = multipart(IMAGE)
    head = f"POST {path} HTTP/1.1\r\nHost: clearcut\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    connection.send(f"{head}x-api-key: {key}\r\n\r\n".encode() + body[:200])


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
            connection = stack.enter_context(RawConnection(service.server.port, 5))
            begin(connection, path, key)
            assert connection.read_response().status == 402


@pytest.mark.parametrize("path", UPLOADS)
def test_concurrency_limit_holds_while_a_body_arrives(service, path):
    (key,) = service.accounts.make(1, 5, concurrent=1)
    with RawConnection(service.server.port) as first, RawConnection(service.server.port, 5) as second:
        begin(first, "/v1/remove", key)
        until_slot_used(service.server)
        begin(second, path, key)
        assert second.read_response().status == 429


def create_job(service: Service, key: str, path: str = "/photo.jpg", **more: str) -> str:
    """Create a job and return its id."""
    body = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": service.callback_server.base_url + path}} | more
    response = httpx.post(
        f"{service.server.base_url}/v1/prediction/", json=body, headers={"x-api-key": key}, trust_env=False
    )
    assert response.status_code == 200, response.text
    return response.json()["predictionID"]


def apiframe(service: Service, key: str, path: str, **more: str) -> str:
    """Create a job as ``order`` does, with an API without a limit of unfinished jobs."""
    params = {"image": service.callback_server.base_url + path}
    body = {"model": "851-bg-remove", "lab851BgRemoveParams": params} | more
    url = f"{service.server.base_url}/v2/images/background-remove"
    response = httpx.post(url, json=body, headers={"x-api-key": key}, trust_env=False)
    assert response.status_code == 202, response.text
    return response.json()["jobId"]


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
    assert finished(service, key, create_job(service, key))["status"] == "success"
    headers = {"x-api-key": key, "content-type": "image/png"}
    response = httpx.post(f"{service.server.base_url}/v1/remove", content=IMAGE, headers=headers, trust_env=False)
    assert response.status_code == 429


def test_slow_urls_of_one_account_do_not_delay_others(service):
    """The jobs of the first account wait for a failing server. The service retries it for twenty seconds."""
    busy, other = service.accounts.make(2, 100)
    service.callback_server.statuses["/slow.jpg"] = 503
    slow = [apiframe(service, busy, "/slow.jpg") for _ in range(40)]
    job = create_job(service, other)
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
        assert finished(service, other, create_job(service, other), seconds=10)["status"] == "success"


def test_slow_urls_of_callers_without_key_do_not_delay_accounts(service):
    (other,) = service.accounts.make(1, 100)
    service.callback_server.statuses["/slow.jpg"] = 503
    for _ in range(128):
        apiframe(service, "", "/slow.jpg")
    time.sleep(1)
    assert finished(service, other, create_job(service, other), seconds=10)["status"] == "success"


def test_stalling_webhooks_of_one_account_do_not_delay_others(service):
    busy, other = service.accounts.make(2, 100)
    hook, release = service.callback_server.base_url, threading.Event()

    def response(path: str, _: int) -> int:
        if path == "/stall":
            release.wait(25)
        return 204

    service.callback_server.respond = response
    try:
        jobs = [apiframe(service, busy, "/photo.jpg", webhook_url=f"{hook}/stall") for _ in range(40)]
        deadline = time.monotonic() + 60
        while status(service, busy, jobs[-1]) != "COMPLETED":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finished(service, other, create_job(service, other, webhook_url=f"{hook}/other"))
        deadline = time.monotonic() + 15
        while not any(path == "/other" for path, _, _ in service.callback_server.calls):
            assert time.monotonic() < deadline, "the webhook waits for those of another account"
            time.sleep(0.05)
    finally:
        release.set()
