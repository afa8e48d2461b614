"""The whole hostile suite (minutes): `make test-hostile`."""

from __future__ import annotations

import http.client
import time

import pytest

from tests.support.hostile import connection_attacks, corpus, http_messages
from tests.support.hostile.oracle import Oracle
from tests.support.wire import Wire, request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def oracle(server):
    made = Oracle(server)
    yield made
    made.still_well()
    print(dict(made.outcomes))
    assert not made.faults, f"{len(made.faults)} faults:\n" + "\n".join(made.faults[:40])


@pytest.mark.parametrize("family", corpus.FILES)
def test_hostile_files(oracle, family):
    for turn, item in enumerate(corpus.FILES[family]()):
        oracle.file(item, turn)


def test_hostile_forms(oracle):
    assert sum(1 for _ in corpus.send_forms(oracle)) > 300


def test_hostile_options(oracle):
    assert sum(1 for _ in corpus.send_options(oracle)) > 300


def test_hostile_http_messages(oracle):
    for message in http_messages.all_messages():
        oracle.message(*message)


class _OneReader:
    """A buffered reader over a socket. Pipelined responses may arrive early, so it keeps bytes that were read ahead."""

    def __init__(self, wire):
        self._file = wire.socket.makefile("rb")

    def makefile(self, *_, **__):
        return self

    def close(self):
        """Do nothing: the connection stays open after a response."""

    def __getattr__(self, name):
        return getattr(self._file, name)

    def answer(self):
        response = http.client.HTTPResponse(self, method="POST")
        response.begin()
        response.read()
        return response


def test_pipelined_images_are_answered_in_order_once(server, oracle):
    with Wire(server.port) as wire:
        reader = _OneReader(wire)
        wire.send(
            b"".join(request(http_messages.PICTURE, "image/png", X_Request_ID=f"in-order-{n}") for n in range(20))
        )
        for number in range(20):
            answer = reader.answer()
            assert (answer.status, answer.headers["x-request-id"]) == (200, f"in-order-{number}")
        wire.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            reader.read(1)
        reader._file.close()


@pytest.mark.parametrize("name", connection_attacks.ATTACKS)
def test_connection_attacks_do_not_block_other_clients(server, oracle, name):
    """Slow uploads release their slots once they are known to be slow. Other attacks never hold a slot for long."""
    picture = request(connection_attacks.MEDIUM, "image/jpeg")
    before = server.facts.num_threads()
    answers: list[int] = []
    with connection_attacks.under(connection_attacks.ATTACKS[name], server.port):
        while answers.count(200) < 40 and len(answers) < 400:
            with Wire(server.port) as wire:
                wire.send(picture)
                answers.append(wire.answer().status)
            if answers[-1] == 503:  # Retry-After is at least one second; this client retries earlier
                time.sleep(0.05)
    assert answers.count(200) == 40, answers[-50:]
    assert set(answers) <= {200, 503}
    assert server.facts.num_threads() <= before + 2
