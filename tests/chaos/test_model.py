"""The model's session fails in every way that it can: what the clients are told, and that nobody waits for ever."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from clearcut.inference.providers import choose_device
from tests.chaos.conftest import PICTURE, ask, refused
from tests.live.conftest import metric
from tests.support.served import ROOT, started
from tests.support.served import refused as refused_start
from tests.support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("fault", ["raises", "nan", "shape"])
def test_a_session_that_answers_rubbish(broken, trigger, fault):
    """Its requests are 500 and nothing of the rubbish is sent; when it is over all is as before."""
    with broken(fault) as server:
        server.listening().ready()
        sound = ask(server)
        assert sound.status == 200
        trigger.touch()
        for _ in range(3):
            refused(ask(server), 500, "internal_server_error")
        assert metric(server, "clearcut_requests_total", status="500", code="internal_server_error") == 3
        assert metric(server, "clearcut_slots_used") == metric(server, "clearcut_queue_depth") == 0
        trigger.unlink()
        again = ask(server)
        assert (again.status, again.body) == (200, sound.body)
        assert server.stop() == 0


def test_a_session_that_fails_with_many_at_once_answers_each_alone(broken, trigger):
    with broken("raises-with-many", lanes="1", buckets="1,2,4,8", max_delay_ms="200") as server:
        server.listening().ready()
        sound = ask(server)
        trigger.touch()
        with ThreadPoolExecutor(24) as clients:
            answers = list(clients.map(lambda _: ask(server), range(48)))
        assert {answer.status for answer in answers} == {200}
        assert {answer.body for answer in answers} == {sound.body}
        assert [line for line in server.log if "run again in halves" in line["event"]]


@pytest.mark.parametrize("fault", ["dies", "hangs"])
def test_a_lane_that_dies_or_hangs_ends_the_process_and_everybody_is_told(broken, trigger, fault):
    with broken(fault, lanes="1", watchdog_s="2", slots="32") as server:
        server.listening().ready()
        assert ask(server).status == 200
        trigger.touch()
        wires = [Wire(server.port) for _ in range(16)]
        for wire in wires:
            wire.send(PICTURE)
        for wire in wires:
            with wire:
                refused(wire.answer(), 503, "service_unavailable")
        assert server.exit_code() == 1
        reasons = [line["reason"] for line in server.log if line["event"] == "request" and line["status"] == 503]
        assert len(reasons) == 16
        assert "failed" in reasons
        assert [line for line in server.log if line["event"] == "inference failed"]


def test_a_model_file_that_was_damaged_while_the_service_was_down(tmp_path):
    """Nothing is served with it, and the one line on standard error says which file and which hash."""
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("training"))
    app = tmp_path / "app"
    shutil.copytree(ROOT / "app", app, ignore=shutil.ignore_patterns("__pycache__"))
    damaged = bytearray((models / "clearcut-m.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (models / "clearcut-m.onnx").write_bytes(damaged)
    with started(cwd=tmp_path) as server:
        assert server.exit_code() == 1
        said = "\n".join(server.errors)
        assert "clearcut-m.onnx" in said
        assert hashlib.sha256(damaged).hexdigest()[:12] in said
        assert "Traceback" not in said


@pytest.mark.skipif(choose_device("auto") != "cpu", reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_an_execution_provider_that_is_not_there(device):
    done = refused_start(device=device)
    assert done.returncode == 1
    assert f"Device '{device}' was requested and is not available" in done.stderr
    assert "Traceback" not in done.stderr
