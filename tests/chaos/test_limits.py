"""Exhausted memory, descriptors and disk space, and a clock that jumps."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack

import numpy as np
import pytest

from tests.support import samples
from tests.support.account_clients import IMAGE as SMALL
from tests.support.account_clients import Accounts
from tests.support.live_server import served, started
from tests.support.metrics import metric, wait_for_metric
from tests.support.raw_http import RawConnection, assert_refused, request, send_request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]
REQUEST = request(samples.jpeg(samples.photo("rocket", 400, 300)), "image/jpeg")
PRLIMIT = shutil.which("prlimit")
FAKETIME = shutil.which("faketime")
needs_prlimit = pytest.mark.skipif(PRLIMIT is None, reason="prlimit (util-linux) is not installed")


@pytest.mark.parametrize("step", ["decode", "refine", "encode"])
def test_failed_allocation_returns_503(faulty_server, trigger, step):
    with faulty_server(step) as server:
        server.listening().ready()
        sound = send_request(server.port, REQUEST)
        trigger.touch()
        for _ in range(3):
            assert_refused(send_request(server.port, REQUEST), 503, "service_unavailable")
        assert metric(server, "clearcut_rejected_total", reason="out_of_memory") == 3
        assert metric(server, "clearcut_inflight_pixels") == 0
        trigger.unlink()
        assert send_request(server.port, REQUEST).body == sound.body
        assert server.stop() == 0


@needs_prlimit
def test_memory_limit_returns_503_and_never_400():
    """Images that need too much memory are never reported as damaged. Small images are served before and after."""
    flat = np.full((7000, 7000, 4), 180, np.uint8)
    large = [samples.jpeg(flat[..., :3]), samples.png(flat), samples.webp(flat[..., :3]), samples.jpeg_cmyk(flat)]
    with started() as server:
        server.listening().ready()
        sound = send_request(server.port, REQUEST)
        assert sound.status == 200
        limit = server.process_info.memory_info().vms + 100_000_000  # less than the decoded pixels of a large image
        subprocess.run([PRLIMIT, f"--pid={server.pid}", f"--as={limit}"], check=True)
        for data in large:
            assert_refused(send_request(server.port, request(data, "image/*")), 503, "service_unavailable")
            assert send_request(server.port, REQUEST).body == sound.body
        assert metric(server, "clearcut_rejected_total", reason="out_of_memory") == len(large)
        assert server.stop() == 0


@needs_prlimit
def test_exhausted_descriptors_reset_new_connections():
    """New connections are reset at once, accepted ones are served, and then all are served again."""
    with started(wrapper=[PRLIMIT, "--nofile=48"]) as server:
        server.listening().ready()
        before = server.process_info.num_fds()
        with ExitStack() as open_wires:
            keep_alive = open_wires.enter_context(RawConnection(server.port))
            keep_alive.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert keep_alive.read_response().status == 200
            for _ in range(100):
                open_wires.enter_context(RawConnection(server.port))
            keep_alive.send(REQUEST)
            assert keep_alive.read_response().status == 200
            assert server.process_info.num_fds() >= 47
        for _ in range(200):
            try:
                assert send_request(server.port, REQUEST).status == 200
                break
            except ConnectionError:
                pass
        else:
            pytest.fail("not served again")
        assert server.process_info.num_fds() <= before + 1
        assert server.stop() == 0


@pytest.fixture
def small_file_system(tmp_path):
    """Mount a file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk_returns_503_without_charge(small_file_system):
    """Requests get 503 and are not charged while the disk is full. They succeed afterwards without a restart."""
    accounts = Accounts(f"sqlite:///{small_file_system}/accounts.db")
    (key,) = accounts.make(1, 1000)
    message = request(SMALL, "image/png", x_api_key=key)
    with served(database_url=accounts.url) as server:
        assert send_request(server.port, message).status == 200
        accounts.wait_until_settled()
        filler = small_file_system / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        statuses = [send_request(server.port, message).status for _ in range(30)]
        assert 503 in statuses
        assert set(statuses) <= {200, 503}
        assert statuses[-5:] == [503] * 5
        assert_refused(send_request(server.port, message), 503, "service_unavailable")
        assert metric(server, "clearcut_rejected_total", reason="unavailable") >= 1
        assert [line for line in server.log if line["event"] == "account database failed"]
        filler.unlink()
        assert send_request(server.port, message).status == 200
        accounts.wait_until_settled()
        charged, answered = accounts.states()["charged"], 1 + statuses.count(200) + 1
        assert answered - statuses.count(200) <= charged <= answered
        assert accounts.used([key]) == [charged]
        assert server.stop() == 0
    accounts.close()


@pytest.mark.parametrize("hours", ["24", "-24"])
def test_clock_jump_does_not_affect_deadlines(faulty_server, trigger, accounts, hours):
    """Deadlines, stalls and Retry-After do not depend on the wall clock. Each response is charged once."""
    (key,) = accounts.make(1, 100)
    message = request(SMALL, "image/png", x_api_key=key)
    with faulty_server("clock", database_url=accounts.url, deadline_s="30", body_stall_s="20") as server:
        server.listening().ready()
        assert send_request(server.port, message).status == 200
        server.event("request", status=200)
        with RawConnection(server.port) as half:
            half.send(message[:-10])
            wait_for_metric(server, "clearcut_slots_used", 1)
            trigger.write_text(hours)
            for _ in range(3):
                assert send_request(server.port, message).status == 200
            half.send(message[-10:])
            assert half.read_response().status == 200
        wait_for_metric(server, "clearcut_charges_total", 5)
        assert accounts.states() == {"charged": 5}
        assert accounts.used([key]) == [5]
        assert metric(server, "clearcut_expired_total") == 0
        jumped = [line for line in server.log if line["event"] == "request" and line["status"] == 200]
        days = {line["time"][:10] for line in jumped}
        assert len(days) == 2, days  # the log uses the wall clock
        assert all(0 <= line["ms"] < 60_000 for line in jumped)
        assert server.stop() == 0


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
def test_fast_wall_clock_does_not_expire_requests():
    """The server runs under faketime. Its wall clock passes an hour in seconds, its monotonic clock is real."""
    beside = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1", "TZ": "UTC"}
    with started(wrapper=[FAKETIME, "-f", "+0 x1000"], extra_environment=beside, deadline_s="30") as server:
        server.listening().ready()
        first = send_request(server.port, REQUEST)
        assert first.status == 200
        for _ in range(20):
            assert send_request(server.port, REQUEST).body == first.body
        assert metric(server, "clearcut_expired_total") == 0
        os.kill(server.process_info.children()[0].pid if server.process_info.children() else server.pid, 15)
        assert server.exit_code() == 0
