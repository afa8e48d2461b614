from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hostile.connection_attacks import descriptors
from tests.support.served import Server, served


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start a server with the settings of ``make serve`` and the default model."""
    descriptors()
    with served() as running:
        yield running
