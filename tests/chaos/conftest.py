from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.account_clients import Accounts
from tests.support.live_server import Server, started


@pytest.fixture
def accounts(tmp_path) -> Iterator[Accounts]:
    database = Accounts(f"sqlite:///{tmp_path}/accounts.db")
    yield database
    database.close()


@pytest.fixture
def trigger(tmp_path) -> Path:
    """Return the path of the file that activates the injected fault once it exists."""
    return tmp_path / "now"


@pytest.fixture
def faulty_server(trigger) -> Callable[..., AbstractContextManager[Server]]:
    """Return a function that starts a server with an inactive fault: ``broken("nan", slots="4")``."""

    def make(fault: str, **options: str) -> AbstractContextManager[Server]:
        run = [sys.executable, "-m", "tests.support.faulty_server", fault, str(trigger)]
        return started(run=run, **options)

    return make
