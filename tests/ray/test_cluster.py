"""Bulk runs on a cluster of `ray start --head`: `--ray auto`, Ray's client port, and a killed client."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.support.proxies import free_port
from tests.support.ray_cluster import ATTEMPTS, started_cluster
from tests.support.ray_runs import (
    TIMEOUT_S,
    cut,
    failures,
    files,
    kill_tree,
    start_cut,
    wait_for_outputs,
    write_images,
)

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.timeout(3 * TIMEOUT_S),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="not installed: ray; run `make test-ray`"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """200 images, 5 of them broken, and the outputs of a run without Ray."""
    folder = tmp_path_factory.mktemp("cluster")
    broken = write_images(folder / "in", 200, 5)
    cut(folder / "in", folder / "out", code=1)
    return folder / "in", files(folder / "out"), broken


@pytest.fixture(scope="module")
def cluster():
    with started_cluster() as running:
        yield running


def cut_connected(*arguments: object, code: int, **variables: str) -> str:
    """Run the command again while Ray's client does not connect within 30 seconds, as on a busy machine."""
    for _ in range(ATTEMPTS):
        errors = cut(*arguments, code=code, **variables)
        if "no Ray cluster accepts the connection" not in errors:
            break
    return errors


@pytest.mark.parametrize("mode", ["auto", "client"])
def test_outputs_equal_those_without_ray(mode, cluster, tmp_path, photos):
    source, expected, broken = photos
    out, failed, summary = (tmp_path / name for name in ("out", "failed", "summary"))
    where = cluster.url if mode == "client" else "auto"
    arguments = ["--ray", where, "--failures", failed, "--summary", summary]
    errors = cut_connected(source, out, *arguments, code=1, **cluster.variables)
    assert files(out) == expected, errors
    assert {each["key"] for each in failures(failed)} == broken
    counts = json.loads(summary.read_text())
    assert (counts["written"], counts["failed"], counts["skipped"]) == (195, 5, 0)


def test_rerun_after_killed_client_completes(cluster, tmp_path, photos):
    source, expected, broken = photos
    out, failed, summary = (tmp_path / name for name in ("out", "failed", "summary"))
    arguments = ["--ray", cluster.url, "--failures", failed, "--summary", summary]
    process = start_cut(source, out, *arguments, **cluster.variables)
    try:
        wait_for_outputs(process, out, 20)
    finally:
        kill_tree(process)
    before = {path: data for path, data in files(out).items() if path.endswith(".png")}
    assert len(before) < len(expected)
    assert before.items() <= expected.items()
    assert not failed.exists()
    errors = cut_connected(source, out, *arguments, code=1, **cluster.variables)
    assert files(out) == expected, errors
    assert sorted(each["key"] for each in failures(failed)) == sorted(broken)
    counts = json.loads(summary.read_text())
    assert counts["written"] + counts["skipped"] == 195
    assert counts["skipped"] >= len(before)


@pytest.mark.parametrize("variables", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64}])
def test_client_without_right_token_gets_advice(cluster, tmp_path, variables):
    errors = cut(tmp_path, tmp_path / "out", "--ray", cluster.url, code=1, **{**cluster.variables, **variables})
    assert "RAY_AUTH_TOKEN or ~/.ray/auth_token" in errors
    assert "Traceback" not in errors


def test_missing_token_gets_advice(tmp_path):
    variables = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token", "RAY_ADDRESS": f"127.0.0.1:{free_port()}"}
    errors = cut(tmp_path, tmp_path / "out", "--ray", "auto", code=1, **variables)
    assert "no authentication token was found. If the cluster requires a token, set RAY_AUTH_MODE=token" in errors
    assert "Traceback" not in errors
