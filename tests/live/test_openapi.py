"""schemathesis against the real server: every response matches `/openapi.json`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live_server import ROOT, Server, environment, served
from tests.support.metrics import metric

pytestmark = pytest.mark.live

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "allow_header_conformance",
)  # fmt: skip
WORK = ("/v1/remove", "/v1/remove-background", "/v1/remove-bg", "/v1.0/removebg", "/api/remove", "/v1/segment")


def run(server: Server, folder: Path, examples: int, phases: str, keys: str = "") -> str:
    """Run schemathesis and return its output. Fail the test if it found anything."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.base_url}/openapi.json",
        "--no-color",
        "--checks",
        ",".join(CHECKS),
    ]
    command += ["--phases", phases, "--max-examples", str(examples), "--generation-deterministic"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.support.openapi_hooks", "PYTHONPATH": str(ROOT), "OPENAPI_KEYS": keys}
    done = subprocess.run(
        command, env=environment() | hooks, cwd=folder, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_short_run_without_accounts(server, tmp_path):
    assert "28 passed" in run(server, tmp_path, 16, "fuzzing")
    for route in WORK:
        assert metric(server, "clearcut_requests_total", route=route, status="200") > 0, route


def test_short_run_with_all_kinds_of_keys(tmp_path):
    database = f"sqlite:///{tmp_path}/keys.db"

    def keys(*words: str) -> str:
        command = [sys.executable, "-m", "clearcut", "keys", *words]
        variables = environment(database_url=database)
        return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout

    def create_key(*words: str) -> str:
        (key,) = re.findall(r"clc_\S+", keys("create", *words))
        return key

    good, spent, busy, revoked = (
        create_key("good"),
        create_key("spent", "--prepaid", "1"),
        create_key("busy"),
        create_key("revoked"),
    )
    keys("revoke", revoked.split("_")[1])
    data = str(tmp_path / "data")
    with served(database_url=database, requests_per_minute="40", jobs="sqlite", data_dir=data) as server:
        run(server, tmp_path, 20, "fuzzing", " ".join([good, good, spent, busy, revoked, "clc_made_up", good]))
        for status in ("200", "401", "402", "403", "429"):
            assert metric(server, "clearcut_requests_total", status=status) > 0, status


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_long_run(tmp_path):
    """`make test-api`"""
    with served() as server:
        output = run(server, tmp_path, 200, "examples,coverage,fuzzing")
    print(output[-1500:])
