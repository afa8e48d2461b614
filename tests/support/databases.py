"""New, empty PostgreSQL and Valkey or Redis servers for tests, from the binaries of the distribution's packages."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.support.proxies import free_port

ORDINARY_USERS = ("postgres", "nobody")
PATIENCE_S = 40


def binary(*names: str) -> str:
    """Return the first installed program of these, or skip the test. Debian keeps PostgreSQL's outside PATH."""
    beside = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, beside)])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


def ordinary_user() -> dict[str, object]:
    """Return subprocess options that drop root, because PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    entry = next(pwd.getpwnam(user) for user in ORDINARY_USERS if user in {each.pw_name for each in pwd.getpwall()})
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="clearcut-") as name:
        if user := ordinary_user():
            os.chown(name, user["user"], user["group"])
        yield Path(name)


@contextmanager
def running(command: list[str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=cwd, **quiet, **ordinary_user()) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


@contextmanager
def postgres() -> Iterator[str]:
    """Start an empty PostgreSQL and yield its URL."""
    initdb, server = binary("initdb"), binary("postgres")
    with folder() as home:
        data, port = home / "data", free_port()
        make = [initdb, "--pgdata", str(data), "--username", "clearcut", "--auth", "trust", "--no-sync"]
        subprocess.run(make, cwd=home, check=True, capture_output=True, timeout=PATIENCE_S, **ordinary_user())
        options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(home), "-c", "fsync=off"]
        with running([server, *options], home):
            url = f"postgresql://clearcut@127.0.0.1:{port}/postgres"
            until_open(lambda: psycopg.connect(url).close(), psycopg.OperationalError)
            yield url


@contextmanager
def valkey() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start an empty Valkey or Redis and yield its URL and its process."""
    server = binary("valkey-server", "redis-server")
    with folder() as home:
        port = free_port()
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with running(command, home) as process:
            until_open(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), OSError)
            yield f"redis://127.0.0.1:{port}", process


def until_open(attempt, error: type[Exception]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return attempt()
        except error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
