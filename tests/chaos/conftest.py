from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support import samples
from tests.support.accounts import Accounts
from tests.support.served import Server, started
from tests.support.wire import Answer, Wire, request

PICTURE = request(samples.jpeg(samples.photo("rocket", 400, 300)), "image/jpeg")


def ask(server: Server, message: bytes = PICTURE) -> Answer:
    with Wire(server.port) as wire:
        wire.send(message)
        return wire.answer()


def refused(answer: Answer, status: int, code: str) -> None:
    """An error in our words; a 503 says when to come back."""
    assert (answer.status, answer.error()["code"]) == (status, code)
    if status == 503:
        assert 1 <= int(answer.headers["retry-after"]) <= 60


@pytest.fixture
def accounts(tmp_path) -> Iterator[Accounts]:
    made = Accounts(f"sqlite:///{tmp_path}/accounts.db")
    yield made
    made.close()


@pytest.fixture
def trigger(tmp_path) -> Path:
    """The built-in fault wakes when this file is made."""
    return tmp_path / "now"


@pytest.fixture
def broken(trigger) -> Callable[..., AbstractContextManager[Server]]:
    """``broken("nan", slots="4")``: a server with that fault, asleep."""

    def make(fault: str, **options: str) -> AbstractContextManager[Server]:
        run = [sys.executable, "-m", "tests.chaos.faulty", fault, str(trigger)]
        return started(run=run, **options)

    return make
