"""A model session that fails in every possible way: clients get an error, and no request waits forever."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from clearcut.inference.providers import choose_device
from tests.support import samples
from tests.support.live_server import ROOT, run_until_exit, started
from tests.support.metrics import metric
from tests.support.raw_http import RawConnection, assert_refused, request, send_request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]
REQUEST = request(samples.jpeg(samples.photo("rocket", 400, 300)), "image/jpeg")


@pytest.mark.parametrize("fault", ["raises", "nan", "shape"])
def test_faulty_model_output_returns_500(faulty_server, trigger, fault):
    """Requests get 500 without any faulty output. After the fault all is normal."""
    with faulty_server(fault) as server:
        server.listening().ready()
        sound = send_request(server.port, REQUEST)
        assert sound.status == 200
        trigger.touch()
        for _ in range(3):
            assert_refused(send_request(server.port, REQUEST), 500, "internal_server_error")
        assert metric(server, "clearcut_requests_total", status="500", code="internal_server_error") == 3
        assert metric(server, "clearcut_slots_used") == metric(server, "clearcut_queue_depth") == 0
        trigger.unlink()
        again = send_request(server.port, REQUEST)
        assert (again.status, again.body) == (200, sound.body)
        assert server.stop() == 0


def test_failed_batch_runs_again_in_halves(faulty_server, trigger):
    with faulty_server("raises-with-many", lanes="1", buckets="1,2,4,8", max_delay_ms="200") as server:
        server.listening().ready()
        sound = send_request(server.port, REQUEST)
        trigger.touch()
        with ThreadPoolExecutor(24) as clients:
            responses = list(clients.map(lambda _: send_request(server.port, REQUEST), range(48)))
        assert {response.status for response in responses} == {200}
        assert {response.body for response in responses} == {sound.body}
        assert [line for line in server.log if "runs again in halves" in line["event"]]


@pytest.mark.parametrize("fault", ["dies", "hangs"])
def test_dead_or_hung_model_thread_ends_the_process(faulty_server, trigger, fault):
    with faulty_server(fault, lanes="1", watchdog_s="2", slots="32") as server:
        server.listening().ready()
        assert send_request(server.port, REQUEST).status == 200
        trigger.touch()
        wires = [RawConnection(server.port) for _ in range(16)]
        for connection in wires:
            connection.send(REQUEST)
        for connection in wires:
            with connection:
                assert_refused(connection.read_response(), 503, "service_unavailable")
        assert server.exit_code() == 1
        reasons = [line["reason"] for line in server.log if line["event"] == "request" and line["status"] == 503]
        assert len(reasons) == 16
        assert "failed" in reasons
        assert [line for line in server.log if line["event"] == "inference failed"]


def test_damaged_model_file_prevents_start(tmp_path):
    """The damaged file is not served. One line on standard error names the file and the hash."""
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("training"))
    app = tmp_path / "app"
    shutil.copytree(ROOT / "app", app, ignore=shutil.ignore_patterns("__pycache__"))
    damaged = bytearray((models / "clearcut-m.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (models / "clearcut-m.onnx").write_bytes(damaged)
    with started(cwd=tmp_path, plan_cache=str(tmp_path / "plan"), extra_environment={"PYTHONPATH": str(app)}) as server:
        assert server.exit_code() == 1
        output = "\n".join(server.errors)
        assert "clearcut-m.onnx" in output
        assert hashlib.sha256(damaged).hexdigest()[:12] in output
        assert "Traceback" not in output


@pytest.mark.skipif(choose_device("auto") != "cpu", reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_missing_execution_provider_prevents_start(device):
    done = run_until_exit(device=device)
    assert done.returncode == 1
    assert f"Device '{device}' was requested and is not available" in done.stderr
    assert "Traceback" not in done.stderr
