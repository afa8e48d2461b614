"""Credits with the real server and 200 concurrent clients: exact, and no uncharged cut-out after a kill."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.support.account_clients import NO_RESPONSE, Accounts, kill_after, send_all
from tests.support.live_server import served, started

pytestmark = pytest.mark.live

KEYS, EACH, CREDITS = 20, 10, 5


@pytest.fixture
def accounts(tmp_path):
    accounts = Accounts(f"sqlite:///{tmp_path}/accounts.db")
    yield accounts
    accounts.close()


def test_200_clients_spend_credits_exactly(accounts):
    keys = accounts.make(KEYS, CREDITS)
    with served(database_url=accounts.url, slots="256", model="clearcut-s") as server:
        statuses = send_all([(server.base_url, key) for key in keys * EACH])
        assert Counter(statuses) == {200: KEYS * CREDITS, 402: KEYS * (EACH - CREDITS)}
        assert accounts.wait_until_settled() == {"charged": KEYS * CREDITS}
        assert accounts.used(keys) == [CREDITS] * KEYS


def test_kill_sends_no_uncharged_cutout(accounts):
    """Every response is charged, plus at most the running requests. The remaining credits stay usable."""
    keys, slots = accounts.make(KEYS, CREDITS), 64
    environ = {"database_url": accounts.url, "slots": str(slots), "model": "clearcut-s"}
    with started(**environ) as server:
        server.listening().ready()
        requests = [(server.base_url, key) for key in keys * EACH]
        statuses = send_all(requests, kill_after(server, 30))
        assert server.exit_code() == -signal.SIGKILL
    answered = Counter(statuses)[200]
    assert Counter(statuses)[NO_RESPONSE] > 0
    charged = accounts.states()["charged"]
    assert answered <= charged <= answered + slots
    assert sum(accounts.used(keys)) == charged + accounts.states()["reserved"]

    accounts.expire_reservations()
    with served(**environ | {"slots": "256"}) as server:
        again = send_all([(server.base_url, key) for key in keys * CREDITS])
        assert Counter(again) == {200: KEYS * CREDITS - charged, 402: charged} or charged == 0
        assert accounts.wait_until_settled()["charged"] == KEYS * CREDITS
    assert accounts.used(keys) == [CREDITS] * KEYS
    assert answered + Counter(again)[200] <= KEYS * CREDITS
