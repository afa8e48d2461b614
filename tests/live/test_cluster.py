"""Two service processes that share keys, credits and limits through PostgreSQL and Redis or Valkey.

The test starts both stores from the distribution's packages and skips if they are not installed. `make test-cluster`
runs it.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from contextlib import ExitStack

import httpx
import psycopg
import pytest

from clearcut.accounts.keys import parse_key_id
from tests.support.account_clients import IMAGE, NO_RESPONSE, Accounts, kill_after, send_all
from tests.support.databases import postgres, valkey
from tests.support.live_server import Server, served, started

pytestmark = [pytest.mark.live, pytest.mark.slow]


class Cluster:
    def __init__(self, nodes: list[Server], accounts: Accounts, store: subprocess.Popen[bytes], url: dict) -> None:
        self.nodes = nodes
        self.accounts = accounts
        self.store = store
        self.environ = url

    def ask(self, node: int, key: str, **headers: str) -> httpx.Response:
        headers = {"x-api-key": key, "content-type": "image/png"} | headers
        address = f"{self.nodes[node].base_url}/v1/remove"
        return httpx.post(address, content=IMAGE, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def cluster():
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        limits, store = stack.enter_context(valkey())
        environ = {"database_url": database, "limits_url": limits, "slots": "256"}
        # Both find an empty database at the same moment, and both create its tables.
        nodes = [stack.enter_context(started(**environ)) for _ in range(2)]
        for node in nodes:
            node.listening().ready()
        accounts = Accounts(database)
        yield Cluster(nodes, accounts, store, environ)
        accounts.close()


def test_two_nodes_spend_credits_exactly(cluster):
    keys = cluster.accounts.make(20, 5)
    requests = [(node.base_url, key) for key in keys * 5 for node in cluster.nodes]
    assert Counter(send_all(requests)) == {200: 100, 402: 100}
    assert cluster.accounts.wait_until_settled() == {"charged": 100}
    assert cluster.accounts.used(keys) == [5] * 20


def test_minute_limit_is_shared_by_nodes(cluster):
    (key,) = cluster.accounts.make(1, 100, requests_per_minute=10)
    statuses = send_all([(node.base_url, key) for _ in range(15) for node in cluster.nodes])
    assert Counter(statuses) == {200: 10, 429: 20}


def test_concurrency_limit_is_shared_by_nodes(cluster):
    (key,) = cluster.accounts.make(1, 100, concurrent=1)
    elsewhere = cluster.accounts.ledger.reserve(parse_key_id(key), 1, 1, None)  # held by another node
    assert [cluster.ask(node, key).status_code for node in (0, 1)] == [429, 429]
    cluster.accounts.ledger.release(elsewhere)
    assert [cluster.ask(node, key).status_code for node in (0, 1)] == [200, 200]


def test_idempotency_key_is_shared_by_nodes(cluster):
    (key,) = cluster.accounts.make(1, 1)
    first = cluster.ask(0, key, **{"idempotency-key": "order-17"})
    second = cluster.ask(1, key, **{"idempotency-key": "order-17"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.headers["x-credits-charged"], second.headers["x-credits-charged"]) == ("1", "0")
    assert first.content == second.content
    assert cluster.ask(1, key).status_code == 402


def test_revocation_applies_to_both_nodes(cluster):
    (key,) = cluster.accounts.make(1, 10)
    assert [cluster.ask(node, key).status_code for node in (0, 1)] == [200, 200]
    cluster.accounts.ledger.revoke(parse_key_id(key))
    assert [cluster.ask(node, key).status_code for node in (0, 1)] == [403, 403]


def test_killed_node_sends_no_uncharged_cutout(cluster):
    before = cluster.accounts.wait_until_settled()["charged"]
    keys = cluster.accounts.make(20, 5)
    with started(**cluster.environ) as victim:
        victim.listening().ready()
        requests = [(node.base_url, key) for key in keys * 5 for node in (victim, cluster.nodes[0])]
        statuses = Counter(send_all(requests, kill_after(victim, 10)))
    assert statuses[NO_RESPONSE] > 0
    charged = cluster.accounts.wait_until_stable()["charged"] - before
    assert statuses[200] <= charged <= statuses[200] + 256
    cluster.accounts.expire_reservations()
    again = Counter(send_all([(cluster.nodes[1].base_url, key) for key in keys * 5]))
    assert again[200] == 100 - charged
    assert cluster.accounts.wait_until_settled()["charged"] - before == 100
    assert cluster.accounts.used(keys) == [5] * 20


def test_lost_rate_limit_store_allows_requests(cluster):
    (key,) = cluster.accounts.make(1, 100, requests_per_minute=1)
    assert [cluster.ask(0, key).status_code for _ in range(2)] == [200, 429]
    cluster.store.terminate()
    cluster.store.wait(40)
    assert [cluster.ask(0, key).status_code for _ in range(2)] == [200, 200]
    cluster.nodes[0].event("rate limits cannot be counted")


def test_lost_database_returns_503():
    with postgres() as database:
        accounts = Accounts(database)
        (key,) = accounts.make(1, 1)
        accounts.close()
        with served(database_url=database, key_cache_s="0") as server:

            def ask(path: str) -> httpx.Response:
                return httpx.get(server.base_url + path, headers={"x-api-key": key}, timeout=60, trust_env=False)

            assert ask("/v1/me").status_code == 200
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute("alter table keys rename to gone")
            response = ask("/v1/me")
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert ask("/livez").status_code == 200
