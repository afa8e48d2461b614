"""The whole hostile suite (minutes): `make test-hostile`."""

from __future__ import annotations

import http.client
import time

import pytest

from tests.support.hostile import connection_attacks, corpus, http_messages
from tests.support.hostile.oracle import Oracle
from tests.support.raw_http import RawConnection, request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def oracle(server):
    checker = Oracle(server)
    yield checker
    checker.check_server()
    print(dict(checker.outcomes))
    assert not checker.failures, f"{len(checker.failures)} faults:\n" + "\n".join(checker.failures[:40])


@pytest.mark.parametrize("family", corpus.FILES)
def test_hostile_files(oracle, family):
    before = len(oracle.failures)
    for index, item in enumerate(corpus.FILES[family]()):
        oracle.file(item, index)
    assert oracle.failures[before:] == []


def test_hostile_forms(oracle):
    assert sum(1 for _ in corpus.send_forms(oracle)) > 300


def test_hostile_options(oracle):
    assert sum(1 for _ in corpus.send_options(oracle)) > 300


def test_hostile_http_messages(oracle):
    before = len(oracle.failures)
    for message in http_messages.all_messages():
        oracle.message(*message)
    assert oracle.failures[before:] == []


class _OneReader:
    """A buffered reader over a socket. Pipelined responses may arrive early, so it keeps bytes that were read ahead."""

    def __init__(self, connection):
        self._file = connection.socket.makefile("rb")

    def makefile(self, *_, **__):
        return self

    def close(self):
        """Do nothing: the connection stays open after a response."""

    def __getattr__(self, name):
        return getattr(self._file, name)

    def read_response(self):
        response = http.client.HTTPResponse(self, method="POST")
        response.begin()
        response.read()
        return response


def test_pipelined_images_are_answered_in_order_once(server, oracle):
    with RawConnection(server.port) as connection:
        reader = _OneReader(connection)
        connection.send(
            b"".join(request(http_messages.IMAGE, "image/png", X_Request_ID=f"in-order-{n}") for n in range(20))
        )
        for number in range(20):
            response = reader.read_response()
            assert (response.status, response.headers["x-request-id"]) == (200, f"in-order-{number}")
        connection.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            reader.read(1)
        reader._file.close()


@pytest.mark.parametrize("name", connection_attacks.ATTACKS)
def test_connection_attacks_do_not_block_other_clients(server, oracle, name):
    """Slow uploads release their slots once they are known to be slow. Other attacks never hold a slot for long."""
    message = request(connection_attacks.MEDIUM, "image/jpeg")
    before = server.process_info.num_threads()
    responses: list[int] = []
    with connection_attacks.under(connection_attacks.ATTACKS[name], server.port):
        while responses.count(200) < 40 and len(responses) < 400:
            with RawConnection(server.port) as connection:
                connection.send(message)
                responses.append(connection.read_response().status)
            if responses[-1] == 503:  # Retry-After is at least one second; this client retries earlier
                time.sleep(0.05)
    assert responses.count(200) == 40, responses[-50:]
    assert set(responses) <= {200, 503}
    assert server.process_info.num_threads() <= before + 2
