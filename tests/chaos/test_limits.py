"""Memory, descriptors, disk and the clock: what the service does when the system does not give what it always gave."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack

import numpy as np
import pytest

from tests.support import samples
from tests.support.accounts import PICTURE as SMALL
from tests.support.accounts import Accounts
from tests.support.metrics import metric, wait_for_metric
from tests.support.served import served, started
from tests.support.wire import Wire, assert_refused, request, send_request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]
REQUEST = request(samples.jpeg(samples.photo("rocket", 400, 300)), "image/jpeg")
PRLIMIT = shutil.which("prlimit")
FAKETIME = shutil.which("faketime")
needs_prlimit = pytest.mark.skipif(PRLIMIT is None, reason="prlimit (util-linux) is not installed")


@pytest.mark.parametrize("step", ["decode", "refine", "encode"])
def test_an_allocation_that_fails(broken, trigger, step):
    with broken(step) as server:
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
def test_a_process_that_may_not_have_the_memory():
    """Of the largest pictures none is called damaged, and small ones are served as ever, before and after."""
    flat = np.full((7000, 7000, 4), 180, np.uint8)
    large = [samples.jpeg(flat[..., :3]), samples.png(flat), samples.webp(flat[..., :3]), samples.jpeg_cmyk(flat)]
    with started(around=[PRLIMIT, "--as=1200000000"]) as server:
        server.listening().ready()
        sound = send_request(server.port, REQUEST)
        assert sound.status == 200
        for data in large:
            assert_refused(send_request(server.port, request(data, "image/*")), 503, "service_unavailable")
            assert send_request(server.port, REQUEST).body == sound.body
        assert metric(server, "clearcut_rejected_total", reason="out_of_memory") == len(large)
        assert server.stop() == 0


@needs_prlimit
def test_descriptors_that_run_out():
    """Who cannot be accepted is reset at once; who was accepted is served; then everybody again."""
    with started(around=[PRLIMIT, "--nofile=48"]) as server:
        server.listening().ready()
        before = server.facts.num_fds()
        with ExitStack() as open_wires:
            kept = open_wires.enter_context(Wire(server.port))
            kept.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.answer().status == 200
            for _ in range(100):
                open_wires.enter_context(Wire(server.port))
            kept.send(REQUEST)
            assert kept.answer().status == 200
            assert server.facts.num_fds() >= 47
        for _ in range(200):
            try:
                assert send_request(server.port, REQUEST).status == 200
                break
            except ConnectionError:
                pass
        else:
            pytest.fail("not served again")
        assert server.facts.num_fds() <= before + 1
        assert server.stop() == 0


@pytest.fixture
def tiny(tmp_path):
    """A file system of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_under_the_accounts(tiny):
    """503 while it lasts, and nothing charged for it; then on, without a restart."""
    accounts = Accounts(f"sqlite:///{tiny}/accounts.db")
    (key,) = accounts.make(1, 1000)
    message = request(SMALL, "image/png", x_api_key=key)
    with served(database_url=accounts.url) as server:
        assert send_request(server.port, message).status == 200
        accounts.until_none_reserved()
        filler = tiny / "filler"
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
        accounts.until_none_reserved()
        charged, answered = accounts.states()["charged"], 1 + statuses.count(200) + 1
        assert answered - statuses.count(200) <= charged <= answered
        assert accounts.used([key]) == [charged]
        assert server.stop() == 0
    accounts.close()


@pytest.mark.parametrize("hours", ["24", "-24"])
def test_a_clock_that_jumps(broken, trigger, accounts, hours):
    """Deadlines, stalls and Retry-After know nothing of it; each answer is charged once."""
    (key,) = accounts.make(1, 100)
    message = request(SMALL, "image/png", x_api_key=key)
    with broken("clock", database_url=accounts.url, deadline_s="30", body_stall_s="20") as server:
        server.listening().ready()
        assert send_request(server.port, message).status == 200
        server.event("request", status=200)
        with Wire(server.port) as half:
            half.send(message[:-10])
            wait_for_metric(server, "clearcut_slots_used", 1)
            trigger.write_text(hours)
            for _ in range(3):
                assert send_request(server.port, message).status == 200
            half.send(message[-10:])
            assert half.answer().status == 200
        wait_for_metric(server, "clearcut_charges_total", 5)
        assert accounts.states() == {"charged": 5}
        assert accounts.used([key]) == [5]
        assert metric(server, "clearcut_expired_total") == 0
        jumped = [line for line in server.log if line["event"] == "request" and line["status"] == 200]
        days = {line["time"][:10] for line in jumped}
        assert len(days) == 2, days  # the log tells the day that the clock told
        assert all(0 <= line["ms"] < 60_000 for line in jumped)
        assert server.stop() == 0


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
def test_a_clock_that_runs_a_thousand_times_too_fast():
    """The real process under faketime, whose wall clock passes an hour in seconds; the monotonic one is left alone."""
    beside = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1", "TZ": "UTC"}
    with started(around=[FAKETIME, "-f", "+0 x1000"], beside=beside, deadline_s="30") as server:
        server.listening().ready()
        first = send_request(server.port, REQUEST)
        assert first.status == 200
        for _ in range(20):
            assert send_request(server.port, REQUEST).body == first.body
        assert metric(server, "clearcut_expired_total") == 0
        os.kill(server.facts.children()[0].pid if server.facts.children() else server.pid, 15)
        assert server.exit_code() == 0
