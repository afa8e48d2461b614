"""``python -m clearcut check`` for operators, and the health check of a container."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.live_server import ROOT, environment

pytestmark = pytest.mark.live


def check(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clearcut", "check", *arguments]
    variables = environment(**environ)
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False)


def test_check_reports_configuration_and_exits_0():
    done = check(port="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ready to serve\n")
    assert "self-test" in done.stdout


def test_check_reports_used_port_and_unknown_setting(server):
    done = check(port=str(server.port), slotz="1")
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in done.stdout
    assert "did you mean CLEARCUT_SLOTS?" in done.stdout
    assert done.stdout.endswith("2 error(s): the service would not start\n")


@pytest.mark.parametrize("command", [["check"], ["models", "list"]])
def test_closed_output_pipe_causes_no_traceback(command):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "clearcut", *command], cwd=ROOT, env=environment(port="0"), stdout=out,
            stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")


def test_health_check_with_and_without_server(server):
    assert check("--live", port=str(server.port)).returncode == 0
    assert check("--live", server.base_url).returncode == 0
    assert check("--live", "http://127.0.0.1:1").returncode == 1


def test_health_check_does_not_load_onnxruntime():
    code = "import sys, app.__main__ as m; m.main(['check', '--live', 'http://127.0.0.1:1']); print(len(sys.modules))"
    code += "; print({'onnxruntime', 'numpy', 'cv2', 'sqlalchemy', 'starlette'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("set()\n")
