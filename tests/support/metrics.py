"""Read samples from a server's ``/metrics``."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.live_server import Server


def metric(server: Server, name: str, **labels: str) -> float:
    """Return the first sample with this name and these labels, or 0 if there is no such sample."""
    text = httpx.get(f"{server.base_url}/metrics", timeout=60, trust_env=False).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


def wait_for_metric(server: Server, name: str, value: float, rounds: int = 2000) -> None:
    """Read the metric until it has this value. Each round is one HTTP request.

    Raises:
        AssertionError: The metric has another value after ``rounds`` requests.
    """
    for _ in range(rounds):
        if (current := metric(server, name)) == value:
            return
    raise AssertionError(f"{name} is {current:g}, expected {value:g}\n{server.transcript()}")
