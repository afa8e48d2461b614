"""One real server for most live tests, a second with tight limits, and what speaks to them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.served import Server, served


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """As `make serve` starts it."""
    with served() as running:
        yield running


@pytest.fixture(scope="session")
def tight() -> Iterator[Server]:
    """Gives up on a silent upload soon, and runs one model session, so that requests meet in its queue."""
    with served(body_stall_s="0.5", lanes="1", buckets="1,2,4,8") as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with speaking_to(server) as talking:
        yield talking


def speaking_to(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.base_url, timeout=60, trust_env=False)


def metric(server: Server, name: str, **labels: str) -> float:
    """One sample of /metrics; 0 when it is not there yet."""
    text = httpx.get(f"{server.base_url}/metrics", timeout=60, trust_env=False).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


def until_metric(server: Server, name: str, value: float, rounds: int = 2000) -> None:
    """Ask until the sample has this value; each question is a round trip, so this does not spin."""
    for _ in range(rounds):
        if (got := metric(server, name)) == value:
            return
    raise AssertionError(f"{name} stays at {got:g}, not {value:g}\n{server.transcript()}")
