"""The service on Ray Serve: clients, shared traffic, scaling and SIGTERM. `make test-ray` installs Ray."""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.clients.poofbg import RegistryUnreachable
from tests.support.clients.removebg import bare, removebg_of_pypi
from tests.support.cut_command import pixels
from tests.support.live_server import ROOT
from tests.support.proxies import free_port
from tests.support.ray_runs import kill_tree, wait_until
from tests.support.samples import jpeg, photo

MISSING = [name for name in ("ray",) if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; run `make test-ray`"),
]
PHOTO = jpeg(photo("astronaut", 96, 96))
LARGE = jpeg(photo("coffee", 900, 600))


class Served:
    """``serve run`` on a cluster of its own."""

    def __init__(self, folder: Path, **arguments: object) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 4,
                "object_store_memory": 100 * 2**20,
                "include_dashboard": False,
                "node_ip_address": "127.0.0.1",
            },
        )
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        bin_folder = Path(sys.executable).parent
        self._environ = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "CLEARCUT_PRECISION": "fp32"}
        self._environ |= {"RAY_ADDRESS": self.cluster.address, "CLEARCUT_ALLOW_ANONYMOUS": "true"}
        start = ["start", "--address", self.cluster.address, "--http-port", str(port), "--http-host", "127.0.0.1"]
        subprocess.run([bin_folder / "serve", *start], env=self._environ, check=True, capture_output=True, timeout=120)
        command = [bin_folder / "serve", "run", "--address", self.cluster.address, "clearcut.server.ray:app"]
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *(f"{name}={value}" for name, value in arguments.items())],
                env=self._environ, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self.ready, 300)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        kill_tree(self.process)
        self.cluster.shutdown()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One replica that can become two, soon after the load changes."""
    running = Served(
        tmp_path_factory.mktemp("serve"), min_replicas=1, max_replicas=2, target_ongoing_requests=2,
        upscale_delay_s=1, downscale_delay_s=3,
    )  # fmt: skip
    yield running
    running.close()


def post(served: Served, data: bytes = PHOTO, **fields: str) -> httpx.Response:
    files = {"image_file": ("photo.jpg", data, "image/jpeg")}
    return httpx.post(f"{served.url}/v1/remove", files=files, data=fields, timeout=120, trust_env=False)


def test_replica_answers_like_the_service(served):
    response = post(served, format="png", crop="true")
    assert response.status_code == 200
    assert pixels(response.content).shape[2] == 4
    assert "X-Request-ID" in response.headers
    refused = post(served, b"no image")
    assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")
    assert httpx.get(f"{served.url}/livez", trust_env=False).status_code == 200


def test_published_client_gets_a_cutout(served, tmp_path):
    try:
        packages = removebg_of_pypi()
    except RegistryUnreachable as exc:
        pytest.skip(f"the package cannot be fetched: {exc}")
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    plan = [
        ["cut", "any", "remove_background_from_img_file", {"img_file_path": "photo.jpg", "size": "regular"}],
        ["size", "any", "remove_background_from_img_file", {"img_file_path": "photo.jpg", "size": "gigantic"}],
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    driver = ROOT / "tests" / "support" / "clients" / "removebg_driver.py"
    command = [sys.executable, driver, packages, f"{served.url}/v1.0/removebg", tmp_path / "plan.json"]
    done = subprocess.run(command, cwd=tmp_path, env=bare(), capture_output=True, text=True, check=True, timeout=120)
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert outcomes["cut"] == "ok"
    assert outcomes["size"][0] == 400
    assert pixels((tmp_path / "photo.jpg_no_bg.png").read_bytes()).shape == (96, 96, 4)


def test_scaling_up_and_down_loses_no_request(served):
    codes: collections.Counter[int] = collections.Counter()
    counts: list[int] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            codes[post(served, LARGE).status_code] += 1

    with ThreadPoolExecutor(9) as pool:
        for _ in range(8):
            pool.submit(send)
        try:
            wait_until(lambda: record(counts) == 2, 240)
            before = cpu_seconds()
            time.sleep(8)
            after = cpu_seconds()
        finally:
            stop.set()
    stop.clear()
    with ThreadPoolExecutor(1) as pool:  # a light load while one replica is removed
        future = pool.submit(send)
        try:
            wait_until(lambda: record(counts) == 1, 240)
        finally:
            stop.set()
        future.result()
    assert set(codes) == {200}
    assert max(counts) == 2
    assert all(after[process] - seconds > 0.3 for process, seconds in before.items()), "one replica had no requests"


def record(counts: list[int]) -> int:
    counts.append(len(replica_processes()))
    return counts[-1]


def cpu_seconds() -> dict[int, float]:
    """Return the CPU time of each replica."""
    times = {number: psutil.Process(number).cpu_times() for number in replica_processes()}
    return {number: each.user + each.system for number, each in times.items()}


def replica_processes() -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        command = (process.info["cmdline"] or [""])[0]
        if command.startswith("ray::ServeReplica") and "clearcut" in command.lower():
            found.append(process.info["pid"])
    return found


def test_sigterm_finishes_requests_in_progress(served):
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(post, served, LARGE) for _ in range(4)]
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        responses = [future.result() for future in futures]
    assert [response.status_code for response in responses] == [200] * 4
    assert served.process.wait(120) == 0
    assert replica_processes() == []
