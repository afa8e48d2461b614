"""schemathesis against the real server: what it answers is what `/openapi.json` says, whatever it is sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.conftest import metric
from tests.served import ROOT, Server, environment, served

pytestmark = pytest.mark.live

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "allow_header_conformance",
)  # fmt: skip
WORK = ("/v1/remove", "/v1/remove-background", "/v1/remove-bg", "/v1.0/removebg", "/api/remove", "/v1/segment")


def run(server: Server, folder: Path, examples: int, phases: str) -> str:
    """What it said; the test fails when it found anything."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.base_url}/openapi.json",
        "--no-color",
        "--checks",
        ",".join(CHECKS),
    ]
    command += ["--phases", phases, "--max-examples", str(examples), "--generation-deterministic"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.live.openapi_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=environment() | hooks, cwd=folder, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    for route in WORK:
        assert metric(server, "clearcut_requests_total", route=route, status="200") > 0, route
    return done.stdout


def test_a_short_run(server, tmp_path):
    assert "15 passed" in run(server, tmp_path, 8, "fuzzing")


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_a_long_run(tmp_path):
    """`make test-api`"""
    with served() as server:
        said = run(server, tmp_path, 200, "examples,coverage,fuzzing")
    print(said[-1500:])
