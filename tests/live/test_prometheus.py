"""A real Prometheus with our rules scrapes the real server: every rule works, every panel has data."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import yaml

from tests.support import samples
from tests.support.deploy_files import RULES, document, queries, rules, series_in
from tests.support.live_server import Server, http_client, served
from tests.support.metrics import wait_for_metric
from tests.support.proxies import free_port, running
from tests.support.raw_http import RawConnection, request

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

PNG = samples.png(samples.photo("coffee", 240, 160))
LATER = {
    "clearcut_expired_total", "clearcut_queue_dropped_total", "clearcut_jobs_total", "clearcut_jobs_accepted_total",
    "clearcut_webhook_attempts_total",
}  # fmt: skip
"""Series of events that this test does not cause. A panel with only these may be empty."""


def bring_traffic(server: Server, metrics: int) -> None:
    """Send successful requests, both kinds of refusals, and a client that disconnects."""
    private = cast(Server, SimpleNamespace(base_url=f"http://127.0.0.1:{metrics}", transcript=server.transcript))
    request_id, png = f"leaves-{uuid.uuid4()}", {"content-type": "image/png"}
    wait_for_metric(private, "clearcut_slots_used", 0)
    with http_client(server) as client:
        for kind in ("png", "webp"):
            assert client.post(f"/v1/remove?format={kind}", content=PNG, headers=png).status_code == 200
        assert client.post("/v1/remove", content=b"x", headers=png).status_code == 400
        with RawConnection(server.port) as holder:
            # A large upload, because the server would soon classify a small one as slow and release its slot.
            holder.send(request(bytes(4_000_000), "image/png", length=5_000_000, X_Request_ID=request_id))
            wait_for_metric(private, "clearcut_slots_used", 1)
            assert client.post("/v1/remove", content=PNG, headers=png).status_code == 503
    server.event("request", request_id=request_id)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("prometheus")
    with served(slots="1", metrics_port="0") as server:
        config = document(RULES.parent / "prometheus.yml")
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        metrics = server.event("listening for metrics")["port"]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{metrics}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        command = [
            "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        bring_traffic(server, metrics)  # a counter's first sample has no rate, so this starts before the first scrape
        with (
            running(command, port, folder),
            httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60, trust_env=False) as client,
        ):
            deadline = time.monotonic() + 90
            while client.get(f"http://127.0.0.1:{port}/-/ready").status_code != 200:  # it listens before it responds
                assert time.monotonic() < deadline
                time.sleep(0.05)
            while not all(ask(client, name) for name in ("clearcut:cutouts:rate5m > 0", "clearcut:overloaded:ratio5m")):
                assert time.monotonic() < deadline, client.get("/targets").text
                bring_traffic(server, metrics)
            yield client


def ask(client: httpx.Client, expression: str) -> list:
    response = client.get("/query", params={"query": expression}).json()
    if response["status"] != "success":
        # It listens before it has read its stored data.
        assert response.get("errorType") == "unavailable", (expression, response)
        return []
    return response["data"]["result"]


def test_target_is_up(prometheus):
    (target,) = prometheus.get("/targets").json()["data"]["activeTargets"]
    assert target["health"] == "up", target
    assert target["labels"]["job"] == "clearcut"


def test_every_rule_evaluates_without_error(prometheus):
    groups = prometheus.get("/rules").json()["data"]["groups"]
    loaded = [rule for group in groups for rule in group["rules"]]
    assert len(loaded) == len(rules())
    assert [(rule["name"], rule.get("lastError")) for rule in loaded if rule["health"] != "ok"] == []
    firing = [rule["name"] for rule in loaded if rule["type"] == "alerting" and rule["state"] == "firing"]
    assert firing == []


@pytest.mark.parametrize("rule", [rule for rule in rules() if "record" in rule], ids=lambda rule: rule["record"])
def test_every_recorded_series_has_samples(prometheus, rule):
    assert ask(prometheus, rule["record"])


@pytest.mark.parametrize("rule", [rule for rule in rules() if "alert" in rule], ids=lambda rule: rule["alert"])
def test_every_alert_uses_existing_series(prometheus, rule):
    ask(prometheus, rule["expr"])
    for name in series_in(rule["expr"]):
        assert ask(prometheus, f"count({name})"), name


@pytest.mark.parametrize(("panel", "expression"), list(queries()))
def test_every_dashboard_query_has_data(prometheus, panel, expression):
    response = ask(prometheus, expression)
    if not response:
        assert series_in(expression) <= LATER, (panel, expression)
