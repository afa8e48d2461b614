"""The servers that most live tests share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.live_server import Server, http_client, served


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start a server with the settings of ``make serve``."""
    with served() as running:
        yield running


@pytest.fixture(scope="session")
def tight() -> Iterator[Server]:
    """Start a server with a short upload timeout and one model session, so that concurrent requests share its queue."""
    with served(body_stall_s="0.5", lanes="1", buckets="1,2,4,8") as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with http_client(server) as opened:
        yield opened
