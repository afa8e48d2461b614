"""Concurrent job requests and jobs that wait for long: limits and reservations hold."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from clearcut.accounts.types import JOB_PREFIX
from clearcut.jobs.dbos_queue import MAX_STARTED_JOBS_PER_ACCOUNT
from clearcut.settings import MIB
from clearcut.storage.local import FolderBlobs
from tests.support.account_clients import Accounts
from tests.support.callback_server import PHOTO, CallbackServer, callback_server
from tests.support.live_server import served

pytestmark = pytest.mark.live

SLOW = "/slow.jpg"
"""Path of a failing server: a job that requests it runs for about twenty seconds."""


class Crowd:
    def __init__(self, base_url: str, callbacks: CallbackServer, accounts: Accounts) -> None:
        self.client = httpx.Client(
            base_url=base_url, timeout=60, trust_env=False, limits=httpx.Limits(max_connections=64)
        )
        self.callback_server = callbacks
        self.accounts = accounts
        callbacks.statuses[SLOW] = 503

    def apiframe(self, key: str, path: str = "/photo.jpg", idempotency: str = "", **params: Any) -> httpx.Response:
        headers = {"x-api-key": key} | ({"idempotency-key": idempotency} if idempotency else {})
        params = {"image": self.callback_server.base_url + path} | params
        body = {"model": "851-bg-remove", "lab851BgRemoveParams": params}
        return self.client.post("/v2/images/background-remove", json=body, headers=headers)

    def eachlabs(self, key: str, path: str) -> httpx.Response:
        body = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": self.callback_server.base_url + path}}
        return self.client.post("/v1/prediction/", json=body, headers={"x-api-key": key})


def at_once(count: int, call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> Iterator[Crowd]:
    folder = tmp_path_factory.mktemp("crowds")
    accounts = Accounts(f"sqlite:///{folder}/keys.db")
    with callback_server() as callbacks:
        environ = {
            "jobs": "sqlite", "data_dir": str(folder / "data"), "fetch_allow": callbacks.allow, "slots": "64",
            "database_url": accounts.url, "key_cache_s": "0", "eachlabs_concurrent": "3",
        }  # fmt: skip
        with served(**environ) as server:
            crowd = Crowd(server.base_url, callbacks, accounts)
            yield crowd
            crowd.client.close()
    accounts.close()


def test_concurrent_jobs_with_one_idempotency_key(crowd):
    (key,) = crowd.accounts.make(1, 1000)
    for attempt in range(5):
        create_job = partial(crowd.apiframe, key, idempotency=f"same-{attempt}")
        responses = at_once(16, lambda number, create_job=create_job: create_job(format=("png", "jpg")[number % 2]))
        by_format = [{each.status_code for each in responses[half::2]} for half in (0, 1)]
        assert sorted(map(sorted, by_format)) == [[202], [422]], by_format
        assert len({each.json()["jobId"] for each in responses if each.status_code == 202}) == 1


def test_concurrent_predictions_keep_limit(crowd):
    (key,) = crowd.accounts.make(1, 1000)
    for _ in range(4):
        assert crowd.apiframe(key, SLOW).status_code == 202  # jobs of another API do not count for each::labs
    statuses = Counter(each.status_code for each in at_once(24, lambda _: crowd.eachlabs(key, SLOW)))
    assert statuses == {200: 3, 429: 21}


def test_waiting_job_keeps_reservation(crowd):
    (key,) = crowd.accounts.make(1, MAX_STARTED_JOBS_PER_ACCOUNT + 4)
    for _ in range(MAX_STARTED_JOBS_PER_ACCOUNT + 4):
        assert crowd.apiframe(key, SLOW).status_code == 202
    with crowd.accounts.engine.begin() as connection:
        words = "select expires_at from charges where id like :mark and state = 'reserved'"
        rows = connection.execute(text(words), {"mark": f"{JOB_PREFIX}%"})
        shortest = min(row[0] for row in rows) - time.time()
    assert shortest > 86_400


def test_full_store_refuses_url_jobs(tmp_path):
    FolderBlobs(tmp_path / "blobs", 2 * MIB).put("x", bytes(MIB), "image/png", time.time() + 3600)
    with callback_server() as callbacks:
        environ = {"jobs": "sqlite", "data_dir": str(tmp_path), "fetch_allow": callbacks.allow, "blob_quota_mb": "1"}
        with served(**environ) as server:
            body = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": callbacks.base_url + "/photo.jpg"}}
            response = httpx.post(f"{server.base_url}/v1/prediction/", json=body, timeout=60, trust_env=False)
    assert response.status_code == 503
    assert response.json()["details"] == "The storage for inputs and outputs is full"
    assert int(response.headers["retry-after"]) >= 1


def test_unwritable_store_refuses_jobs_without_charge(tmp_path):
    (tmp_path / "blobs").write_bytes(b"where the store's folder would be")
    accounts = Accounts(f"sqlite:///{tmp_path}/keys.db")
    (key,) = accounts.make(1, 10)
    with served(jobs="sqlite", data_dir=str(tmp_path), database_url=accounts.url) as server:
        url, headers = f"{server.base_url}/api/v1/remove-bg", {"x-api-key": key}
        response = httpx.post(url, files={"image_file": PHOTO}, headers=headers, timeout=60, trust_env=False)
    assert response.status_code == 503
    assert response.json()["code"] == "service_unavailable"
    assert accounts.states() == {"released": 1}
    accounts.close()
