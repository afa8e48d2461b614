"""``python -m clearcut check`` as an operator and as a container's health check run it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.served import ROOT, environment

pytestmark = pytest.mark.live


def check(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clearcut", "check", *arguments]
    given = environment(**environ)
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=120, check=False)


def test_what_would_run_is_said_and_the_exit_code_is_0():
    done = check(port="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ready to serve\n")
    assert "self-test" in done.stdout


def test_a_port_that_is_taken_and_a_setting_that_is_not_there(server):
    done = check(port=str(server.port), slotz="1")
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in done.stdout
    assert "did you mean CLEARCUT_SLOTS?" in done.stdout
    assert done.stdout.endswith("2 error(s): the service would not start\n")


@pytest.mark.parametrize("command", [["check"], ["models", "list"]])
def test_a_reader_that_leaves_gets_no_traceback(command):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "clearcut", *command], cwd=ROOT, env=environment(port="0"), stdout=out,
            stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")


def test_the_health_check_of_a_server_and_of_none(server):
    assert check("--live", port=str(server.port)).returncode == 0
    assert check("--live", server.base_url).returncode == 0
    assert check("--live", "http://127.0.0.1:1").returncode == 1


def test_the_health_check_loads_no_model_runtime():
    code = "import sys, app.__main__ as m; m.main(['check', '--live', 'http://127.0.0.1:1']); print(len(sys.modules))"
    code += "; print({'onnxruntime', 'numpy', 'cv2', 'sqlalchemy', 'starlette'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("set()\n")
