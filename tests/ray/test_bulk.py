"""Bulk runs on Ray: equal files, killed processes, an S3 server. `make test-ray` installs Ray into .venv-ray."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.live_server import ROOT
from tests.support.ray_runs import (
    CLUSTER_IP,
    S3_VARIABLES,
    TIMEOUT_S,
    CuttingProxy,
    cut,
    failures,
    files,
    kill_tree,
    map_workers,
    s3_server,
    start_cut,
    wait_for_outputs,
    write_images,
)

MISSING = [name for name in ("ray", "s3fs", "moto") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.timeout(2 * TIMEOUT_S),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; run `make test-ray`"),
]
IMAGES = int(os.environ.get("RAY_TEST_IMAGES", "2000"))
"""Images of the comparison with a run on one machine."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """300 images, 6 of them broken, and the outputs of a run without Ray."""
    folder = tmp_path_factory.mktemp("bulk")
    broken = write_images(folder / "in", 300, 6)
    cut(folder / "in", folder / "out", code=1)
    return folder / "in", files(folder / "out"), broken


def check_complete(out: Path, failed: Path, photos) -> None:
    """Check that each output exists once, complete, and that the failures file lists each broken image once."""
    _, expected, broken = photos
    assert files(out) == expected
    assert sorted(each["key"] for each in failures(failed)) == sorted(broken)
    assert {each["code"] for each in failures(failed)} == {"validation_error"}


def test_outputs_equal_those_without_ray(tmp_path):
    broken = write_images(tmp_path / "in", IMAGES, 20)
    cut(tmp_path / "in", tmp_path / "plain", code=1)
    arguments = ["--ray", "local", "--actors", 2, "--failures", tmp_path / "failed", "--summary", tmp_path / "summary"]
    cut(tmp_path / "in", tmp_path / "out", *arguments, code=1)
    assert len(broken) == 20
    assert files(tmp_path / "out") == files(tmp_path / "plain")
    assert {each["key"] for each in failures(tmp_path / "failed")} == broken
    summary = json.loads((tmp_path / "summary").read_text())
    assert (summary["written"], summary["failed"], summary["skipped"]) == (IMAGES - 20, 20, 0)


def test_killed_worker_loses_nothing(tmp_path, photos):
    out, failed = tmp_path / "out", tmp_path / "failed"
    process = start_cut(photos[0], out, "--ray", "local", "--actors", 2, "--failures", failed)
    try:
        wait_for_outputs(process, out, 20)
        map_workers(process.pid)[0].send_signal(signal.SIGKILL)
        assert process.wait(TIMEOUT_S) == 1
    finally:
        kill_tree(process)
    check_complete(out, failed, photos)


def test_killed_node_loses_nothing(tmp_path, photos):
    from ray.cluster_utils import Cluster

    out, failed = tmp_path / "out", tmp_path / "failed"
    resources = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "node_ip_address": CLUSTER_IP}
    cluster = Cluster(initialize_head=True, head_node_args={**resources, "include_dashboard": False})
    process = None
    try:
        second = cluster.add_node(**resources)
        cluster.wait_for_nodes()
        arguments = ["--ray", "auto", "--actors", 2, "--actor-cpus", 1, "--failures", failed]
        process = start_cut(photos[0], out, *arguments, RAY_ADDRESS=cluster.address)
        wait_for_outputs(process, out, 20)
        cluster.remove_node(second, allow_graceful=False)
        assert process.wait(TIMEOUT_S) == 1
    finally:
        if process is not None:
            kill_tree(process)
        cluster.shutdown()
    check_complete(out, failed, photos)
    cut(photos[0], out, "--ray", "local", "--failures", failed, code=1)
    check_complete(out, failed, photos)


def test_rerun_after_killed_driver_completes(tmp_path, photos):
    out, failed = tmp_path / "out", tmp_path / "failed"
    process, children = start_cut(photos[0], out, "--ray", "local", "--actors", 2, "--failures", failed), []
    try:
        wait_for_outputs(process, out, 20)
        workers = map_workers(process.pid)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(30)
        assert psutil.wait_procs(workers, 60)[1] == [], "actors are still running"
    finally:
        kill_tree(process)
        for child in children:  # Ray's agents end later
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    before = {path: data for path, data in files(out).items() if path.endswith(".png")}
    assert before.items() <= photos[1].items()
    summary = tmp_path / "summary"
    cut(photos[0], out, "--ray", "local", "--actors", 2, "--failures", failed, "--summary", summary, code=1)
    check_complete(out, failed, photos)
    assert json.loads(summary.read_text())["skipped"] == len(before)


def test_bucket_with_lost_connections(tmp_path, photos):
    import s3fs

    with s3_server(tmp_path) as url:
        proxy = CuttingProxy(int(url.rpartition(":")[2]), period=5)
        variables = {**S3_VARIABLES, "AWS_ENDPOINT_URL": proxy.url}
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            client.put("/bucket").raise_for_status()
            for key, data in files(photos[0]).items():
                client.put(f"/bucket/in/{key}", content=data).raise_for_status()
            failed = tmp_path / "failed"
            arguments = ["s3://bucket/in", "s3://bucket/out/a", "--ray", "local", "--failures", failed]
            cut(*arguments, code=1, **variables)
        bucket = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=url, skip_instance_cache=True)
        written = {key.removeprefix("bucket/out/a/"): bucket.cat_file(key) for key in bucket.find("bucket/out/a")}
        proxy.close()
    assert proxy.cut_connections > 0
    assert written == photos[1]
    assert {each["key"] for each in failures(failed)} == photos[2]


def test_rows_of_a_list_have_options(tmp_path, photos):
    good = sorted(photos[1])[:3]
    rows = [
        {"source": str(photos[0] / key.replace(".png", ".jpg")), "target": f"{i}.png"} for i, key in enumerate(good)
    ]
    rows[1] |= {"format": "webp", "target": "one.webp"}
    rows[2] |= {"channels": "pink"}
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    home = tmp_path / "home"
    cut(table, tmp_path / "out", "--ray", "local", "--failures", tmp_path / "failed", code=1, HOME=str(home))
    assert not (home / ".ray").exists()  # Ray's token, which would apply to clusters of this machine
    written = files(tmp_path / "out")
    assert sorted(written) == ["0.png", "one.webp"]
    assert written["0.png"] == photos[1][good[0]]
    assert written["one.webp"][8:12] == b"WEBP"
    assert [each["key"] for each in failures(tmp_path / "failed")] == [rows[2]["source"]]


def test_driver_memory_does_not_grow_with_the_listing(tmp_path):
    peaks = []
    for count in (1_000, 1_000_000):
        command = [sys.executable, "-m", "tests.support.ray_listing", str(count), str(tmp_path / "list.jsonl")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["keys"] == count
        peaks.append(result["peak_bytes"])
    assert peaks[1] - peaks[0] < 50e6
