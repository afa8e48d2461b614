"""A Ray cluster of one machine, started with ``ray start --head`` as in docs/scale.md."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.proxies import free_port
from tests.support.ray_runs import CLUSTER_IP, MODEL, TIMEOUT_S, kill_tree, wait_until


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A running cluster."""

    url: str
    """Of Ray's client port, for ``--ray``."""
    variables: dict[str, str]
    """Environment variables with which ``--ray auto`` finds this cluster and no other one."""
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def started_cluster() -> Iterator[RayCluster]:
    """Start a cluster with two CPUs and end its processes afterwards."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, because it is part of the paths of Unix sockets
    variables = {"RAY_TMPDIR": str(folder), "RAY_ADDRESS": ""}
    options = {
        "node-ip-address": CLUSTER_IP, "port": 0, "ray-client-server-port": port, "num-cpus": 2,
        "object-store-memory": 100 * 2**20, "include-dashboard": "false",
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [Path(sys.executable).parent / "ray", "start", "--head", "--block", "--disable-usage-stats", *arguments]
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **MODEL, **variables}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: accepts(process, port, folder / "start.log"), TIMEOUT_S / 3)
        yield RayCluster(f"ray://{CLUSTER_IP}:{port}", variables, process)
    finally:
        kill_tree(process)
        shutil.rmtree(folder, ignore_errors=True)


def accepts(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    """Return whether the client port accepts connections.

    Raises:
        AssertionError: Ray has ended.
    """
    assert process.poll() is None, log.read_text()
    with contextlib.suppress(OSError), socket.create_connection((CLUSTER_IP, port), 5):
        return True
    return False
