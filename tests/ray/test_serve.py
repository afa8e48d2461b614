"""The service on Ray Serve: clients, shared traffic, scaling and SIGTERM. `make test-ray` installs Ray."""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import re
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

from tests.support.clients.poofbg import RegistryUnreachable, drive, environment_of
from tests.support.clients.removebg import bare, removebg_of_pypi
from tests.support.cut_command import pixels
from tests.support.live_server import ROOT
from tests.support.proxies import free_port
from tests.support.ray_runs import CLUSTER_IP, MODEL, TIMEOUT_S, kill_tree, wait_until
from tests.support.samples import jpeg, photo

MISSING = [name for name in ("ray",) if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.timeout(2 * TIMEOUT_S),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; run `make test-ray`"),
]
PHOTO = jpeg(photo("astronaut", 96, 96))
LARGE = jpeg(photo("coffee", 900, 600))


class Served:
    """``serve run`` on a cluster of its own."""

    def __init__(self, folder: Path, variables: dict[str, str], **arguments: object) -> None:
        """
        Args:
            variables: for ``serve run`` and the replicas, beside those of ``MODEL``.
            arguments: of the application.
        """
        from ray.cluster_utils import Cluster

        self._environ = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "CLEARCUT_ALLOW_ANONYMOUS": "true"}
        self._environ |= {"RAY_DEDUP_LOGS": "0"} | MODEL | variables
        with pytest.MonkeyPatch.context() as patch:  # a replica has the variables of its node
            for name, value in self._environ.items():
                patch.setenv(name, value)
            self.cluster = Cluster(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 4,
                    "object_store_memory": 100 * 2**20,
                    "include_dashboard": False,
                    "node_ip_address": CLUSTER_IP,
                },
            )
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        bin_folder = Path(sys.executable).parent
        self._environ["RAY_ADDRESS"] = self.cluster.address
        start = ["start", "--address", self.cluster.address, "--http-port", str(port), "--http-host", "127.0.0.1"]
        started = [bin_folder / "serve", *start]
        subprocess.run(started, env=self._environ, check=True, capture_output=True, timeout=TIMEOUT_S)
        command = [bin_folder / "serve", "run", "--address", self.cluster.address, "clearcut.server.ray:app"]
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *(f"{name}={value}" for name, value in arguments.items())],
                env=self._environ, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self.ready, TIMEOUT_S)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, trust_env=False)

    def requests_of(self, process: int) -> int:
        """Return the number of images that a replica has processed, from Ray's log."""
        return len(re.findall(rf"pid={process}\).* POST / 200 ", self.log.read_text()))

    def close(self) -> None:
        kill_tree(self.process)
        self.cluster.shutdown()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One replica that can become two, soon after the load changes."""
    running = Served(
        tmp_path_factory.mktemp("serve"), {"CLEARCUT_DRAIN_DELAY_S": str(TIMEOUT_S / 60)}, min_replicas=1,
        max_replicas=2, target_ongoing_requests=2, upscale_delay_s=1, downscale_delay_s=3,
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
    assert served.get("/livez").status_code == 200


@pytest.mark.parametrize("version", ["0.1.0", "0.4.1"])
def test_poof_clients_get_cutouts(served, tmp_path, version):
    try:
        packages = environment_of(version)
    except RegistryUnreachable as exc:
        pytest.skip(f"the package cannot be fetched: {exc}")
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    call = {"source": str(tmp_path / "photo.jpg"), "base_url": f"{served.url}/v1"}
    plan = [
        {**call, "name": "cut", "options": {"format": "png"}, "save_to": str(tmp_path / "cut")},
        {**call, "name": "webp", "options": {"format": "webp", "crop": True}, "save_to": str(tmp_path / "webp")},
        {**call, "name": "size", "options": {"size": "gigantic"}, "save_to": str(tmp_path / "size")},
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    outcomes = json.loads(drive(packages, str(tmp_path / "plan.json")))
    assert pixels(Path(outcomes["cut"]["saved"]).read_bytes()).shape == (96, 96, 4)
    assert Path(outcomes["webp"]["saved"]).read_bytes()[8:12] == b"WEBP"
    assert (outcomes["size"]["status_code"], outcomes["size"]["code"]) == (400, "validation_error")


def test_removebg_client_gets_a_cutout(served, tmp_path):
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
            wait_until(lambda: record(counts) == 2)
            replicas = replica_processes()
            wait_until(lambda: min(served.requests_of(each) for each in replicas) >= 3)
        finally:
            stop.set()
    stop.clear()
    with ThreadPoolExecutor(1) as pool:  # a light load while one replica is removed
        future = pool.submit(send)
        try:
            wait_until(lambda: record(counts) == 1)
        finally:
            stop.set()
        future.result()
    assert set(codes) == {200}
    assert max(counts) == 2


def record(counts: list[int]) -> int:
    counts.append(len(replica_processes()))
    return counts[-1]


def replica_processes() -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        command = (process.info["cmdline"] or [""])[0]
        if command.startswith("ray::ServeReplica") and "clearcut" in command.lower():
            found.append(process.info["pid"])
    return found


def test_sigterm_loses_no_request_of_a_load_balancer(served):
    """A load balancer checks ``/readyz`` every second and sends requests until a check fails."""
    codes: collections.Counter[int] = collections.Counter()
    unready = threading.Event()

    def send() -> None:
        while not unready.is_set():
            codes[post(served).status_code] += 1

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(send) for _ in range(2)]
        wait_until(lambda: codes[200] >= 4)
        served.process.send_signal(signal.SIGTERM)
        before = codes.total()
        while served.ready():
            time.sleep(1)
        unready.set()
        for future in futures:
            future.result()
    assert set(codes) == {200}
    assert codes.total() > before
    assert served.process.wait(TIMEOUT_S) == 0
    assert replica_processes() == []


def test_sigterm_finishes_requests_in_progress(tmp_path):
    served = Served(tmp_path, {}, min_replicas=1)
    try:
        with ThreadPoolExecutor(4) as pool:
            data = jpeg(photo("coffee", 2700, 1800))
            futures = [pool.submit(post, served, data) for _ in range(4)]
            wait_until(lambda: "\nclearcut_slots_used 4.0" in served.get("/metrics").text)
            served.process.send_signal(signal.SIGTERM)
            responses = [future.result() for future in futures]
        assert [response.status_code for response in responses] == [200] * 4
        assert served.process.wait(TIMEOUT_S) == 0
        assert replica_processes() == []
    finally:
        served.close()


def test_replica_needs_keys_or_permission_for_everyone():
    code = "from clearcut.server.ray import Arguments, served_app; served_app(Arguments())"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CLEARCUT_")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert "StartupError: Ray Serve accepts requests from other machines" in done.stderr
    environ["CLEARCUT_ALLOW_ANONYMOUS"] = "true"
    assert subprocess.run([sys.executable, "-c", code], env=environ, check=False).returncode == 0
