"""Typed errors of Poof's clients that need accounts: 401, 402, 403 and 429, and the account call."""

from __future__ import annotations

import json

import pytest

from clearcut.accounts.keys import Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from tests.support import samples
from tests.support.clients.poofbg import POOFBG, RegistryUnreachable, drive, environment_of
from tests.support.clock import avoid_end_of_minute
from tests.support.live_server import served

pytestmark = [pytest.mark.clients, pytest.mark.live]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The ledger, and a server that uses its database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('accounts')}/accounts.db"
    ledger = Ledger(open_engine(url, 1), 0)
    with served(database_url=url) as server:
        yield ledger, server
    ledger.close()


@pytest.mark.parametrize("version", POOFBG)
def test_account_errors_map_to_client_classes(version, service, tmp_path):
    try:
        environment = environment_of(version)
    except RegistryUnreachable as exc:
        pytest.skip(f"the package cannot be fetched: {exc}")
    ledger, server = service
    good = ledger.create("good", "prepaid", 5, Quotas())
    empty = ledger.create("empty", "prepaid", 0, Quotas())
    revoked = ledger.create("revoked", "unlimited", 0, Quotas())
    slow = ledger.create("slow", "unlimited", 0, Quotas(requests_per_minute=1))
    ledger.revoke(parse_key_id(revoked))
    photo = tmp_path / "photo.png"
    photo.write_bytes(samples.png(samples.photo("coffee")[::4, ::4]))
    steps = [
        {"name": name, "api_key": key, "source": str(photo)}
        for name, key in {
            "good": good, "unknown": "pk_unknown", "empty": empty, "revoked": revoked, "slow": slow, "again": slow,
        }.items()
    ]  # fmt: skip
    steps.append({"name": "me", "api_key": good, "method": "me"})
    shared = {"base_url": f"{server.base_url}/v1", "save_to": str(tmp_path / "out.png")}
    (tmp_path / "plan.json").write_text(json.dumps([step | shared for step in steps]))
    avoid_end_of_minute()
    got = json.loads(drive(environment, str(tmp_path / "plan.json")))
    raised = {name: response["raised"] for name, response in got.items() if "raised" in response}
    assert len(set(raised.values())) == 4, raised
    assert set(raised) == {"unknown", "empty", "revoked", "again"}
    assert "Auth" in raised["unknown"]
    assert "Payment" in raised["empty"]
    assert "Permission" in raised["revoked"]
    assert "RateLimit" in raised["again"]
    assert got["unknown"]["code"] == "authentication_error"
    assert {"maxCredits": 5, "usedCredits": 1}.items() <= got["me"]["value"].items()
