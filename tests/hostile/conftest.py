from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hostile.connection_attacks import raise_descriptor_limit
from tests.support.live_server import Server, served


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start a server with the settings of ``make serve`` and the default model."""
    raise_descriptor_limit()
    with served() as running:
        yield running
