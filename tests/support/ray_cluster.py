"""A Ray cluster of one machine, started with ``ray start --head`` as in docs/ray.md."""

from __future__ import annotations

import contextlib
import os
import secrets
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

ATTEMPTS = 5
"""Attempts to start Ray, which ends if it needs more than 30 seconds, as on a busy machine."""


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A running cluster."""

    url: str
    """Of Ray's client port, for ``--ray``."""
    variables: dict[str, str]
    """Environment variables with which a command finds this cluster and no other one, with its token."""
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def started_cluster() -> Iterator[RayCluster]:
    """Start a cluster with two CPUs that requires a token, and end its processes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, because it is part of the paths of Unix sockets
    variables = {"RAY_TMPDIR": str(folder), "RAY_ADDRESS": ""}
    variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    log, port = folder / "start.log", free_port()
    for _ in range(ATTEMPTS):
        process = _start(variables, port, log)
        wait_until(lambda: process.poll() is not None or _accepts(port), TIMEOUT_S)  # noqa: B023 - called at once
        if process.poll() is None:
            break
        kill_tree(process)
    try:
        assert process.poll() is None, log.read_text()
        yield RayCluster(f"ray://{CLUSTER_IP}:{port}", variables, process)
    finally:
        kill_tree(process)
        shutil.rmtree(folder, ignore_errors=True)


def _start(variables: dict[str, str], port: int, log: Path) -> subprocess.Popen[bytes]:
    options = {
        "node-ip-address": CLUSTER_IP, "port": 0, "ray-client-server-port": port, "num-cpus": 2,
        "object-store-memory": 100 * 2**20, "include-dashboard": "false",
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [Path(sys.executable).parent / "ray", "start", "--head", "--block", "--disable-usage-stats", *arguments]
    environ = {**os.environ, **MODEL, **variables}
    with log.open("wb") as file:
        return subprocess.Popen(command, env=environ, stdout=file, stderr=file, start_new_session=True)


def _accepts(port: int) -> bool:
    """Return whether Ray's client port accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection((CLUSTER_IP, port), 5):
        return True
    return False
