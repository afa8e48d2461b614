"""Helpers for tests of bulk runs: inputs, the command as a process, an S3 server, and a proxy that cuts connections."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from tests.support.proxies import free_port
from tests.support.samples import PHOTOS, photo

BROKEN = (b"not an image", b"", b"\xff\xd8\xff\xe0broken")
S3_VARIABLES = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}


def write_images(folder: Path, count: int, broken: int) -> set[str]:
    """Write ``count`` small images into subfolders and return the keys of the broken ones."""
    keys = set()
    for number in range(count):
        key = f"{number % 7}/{number:05d}.jpg"
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if broken and number % (count // broken) == 3:
            path.write_bytes(BROKEN[len(keys) % len(BROKEN)])
            keys.add(key)
        else:
            pixels = np.roll(photo(PHOTOS[number % len(PHOTOS)], 64, 64), number, axis=1)
            Image.fromarray(pixels).save(path, quality=85)
    return keys


def files(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files of a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failures(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def start_cut(*arguments: object, **variables: str) -> subprocess.Popen[bytes]:
    """Start ``clearcut cut``."""
    # The precision is fixed: a measurement on a busy machine can select another one.
    environ = {**os.environ, "CLEARCUT_PRECISION": "fp32", "RAY_USAGE_STATS_ENABLED": "0", **variables}
    command = [sys.executable, "-m", "clearcut", "cut", *map(str, arguments)]
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, start_new_session=True)


def cut(*arguments: object, code: int, **variables: str) -> str:
    """Run ``clearcut cut``, check its exit code and return its standard error."""
    process = start_cut(*arguments, **variables)
    try:
        _, errors = process.communicate(timeout=900)
    finally:
        kill_tree(process)
    assert process.returncode == code, errors.decode()
    return errors.decode()


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, such as those of a local Ray."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait(30)
    if process.stderr is not None:
        process.stderr.close()


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "timeout"
        time.sleep(0.05)


def count_outputs(folder: Path) -> int:
    return sum(1 for _ in folder.glob("[0-9]/*.png")) if folder.exists() else 0


def map_workers(root: int) -> list[psutil.Process]:
    """Return the actors of a bulk run among the children of a process."""
    found = []
    for child in psutil.Process(root).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.cmdline()[:1] and "MapWorker" in child.cmdline()[0]:
                found.append(child)
    return found


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto's S3 server and yield its URL."""
    port = free_port()
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _responds(url))
        yield url
    finally:
        process.kill()
        process.wait(30)


def _responds(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        httpx.get(url, timeout=5, trust_env=False)
        return True
    return False


class CuttingProxy:
    """A TCP proxy that closes every ``period``-th connection in the middle of the response."""

    def __init__(self, upstream: int, period: int) -> None:
        self.cut_connections = 0
        self._upstream, self._period = upstream, period
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._count += 1
            server = socket.create_connection(("127.0.0.1", self._upstream))
            is_cut = self._count % self._period == 0
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, is_cut), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, is_cut: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_cut:
                    target.sendall(data[: len(data) // 2])
                    self.cut_connections += 1
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()  # the other thread closes the other socket
