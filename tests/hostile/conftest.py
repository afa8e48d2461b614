from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hostile.connection_attacks import descriptors
from tests.support.served import Server, served


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """As `make serve` starts it, with the default model."""
    descriptors()
    with served() as running:
        yield running
