"""HEIC bombs against the live server: bounded cost of the decoder's process, and several bombs at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clearcut.imaging.formats.heif.hevc_library import find_library
from tests.support import heic_bombs
from tests.support.hostile.hostile_files import File
from tests.support.hostile.oracle import Oracle
from tests.support.hostile.routes import ROUTES
from tests.support.live_server import Server, served
from tests.support.raw_http import RawConnection

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_library() is None, reason="this system has no HEIC decoder"),
]
REFUSED_CPU_S, REFUSED_MIB, REFUSED_DECODER_MIB = 1.0, 200, 200
"""Limits for one refused file. A request with base64 holds the file several times."""
SERVED_CPU_S, SERVED_MIB, SERVED_DECODER_MIB = 10.0, 1400, 700
"""Limits for one file of 49 megapixels."""
AT_ONCE = 8


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(temporary: Path) -> Iterator[Server]:
    """Start a server with its own temporary folder, and with enough time for the largest files on a busy machine."""
    with served(deadline_s="600", TMPDIR=str(temporary)) as running:
        yield running


@pytest.fixture
def oracle(server: Server, temporary: Path) -> Iterator[Oracle]:
    """Check the server after a test: same pixels as before, and no file, descriptor or process is left."""
    checker = Oracle(server, measuring=True)
    descriptors = server.process_info.num_fds()
    yield checker
    checker.check_server()
    assert checker.failures == []
    assert server.process_info.num_fds() <= descriptors + 1
    assert not [each for each in server.process_info.children() if each.status() != psutil.STATUS_ZOMBIE]
    assert list(temporary.rglob("*")) == []
    assert not [each for each in Path("/dev/shm").iterdir() if "heic" in each.name]


@pytest.mark.parametrize("name", [*heic_bombs.REFUSED, *heic_bombs.UNDECODABLE])
def test_refused_bombs_have_bounded_cost(oracle: Oracle, name: str) -> None:
    make, _ = (heic_bombs.REFUSED | heic_bombs.UNDECODABLE)[name]
    for turn in range(2):
        oracle.file(File(name, make, "bad"), turn)
    assert set(oracle.outcomes) == {"400"}
    for cost in oracle.costs:
        assert cost.cpu_s < REFUSED_CPU_S, cost
        assert cost.grown_mib < REFUSED_MIB, cost
        assert cost.decoder_mib < REFUSED_DECODER_MIB, cost


@pytest.mark.parametrize("name", heic_bombs.EXPANDING)
def test_largest_files_have_bounded_cost(oracle: Oracle, name: str) -> None:
    oracle.file(File(name, heic_bombs.EXPANDING[name], "good"), 0)
    (cost,) = oracle.costs
    assert cost.cpu_s < SERVED_CPU_S, cost
    assert cost.grown_mib < SERVED_MIB, cost
    assert cost.decoder_mib < SERVED_DECODER_MIB, cost


def test_several_bombs_at_once_are_refused(server: Server, oracle: Oracle) -> None:
    files = [make() for make, _ in (heic_bombs.REFUSED | heic_bombs.UNDECODABLE).values()]
    statuses: list[int] = []

    def send(start: int) -> None:
        for number in range(start, len(files), AT_ONCE):
            with RawConnection(server.port, 300) as connection:
                connection.send(ROUTES[number % len(ROUTES)].message(files[number], f"bomb-{number}"))
                statuses.append(connection.read_response().status)

    threads = [threading.Thread(target=send, args=(start,)) for start in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [400] * len(files)
    assert server.process_info.memory_info().rss < 2 << 30
