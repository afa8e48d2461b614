"""The service without the modules and functions that other platforms lack."""

from __future__ import annotations

import io
import os
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from clearcut.system import _lock_file_on_windows, lock_file
from tests.support.blocked_platform import MODULES
from tests.support.live_server import ROOT, Server, http_client, served
from tests.support.samples import photo, png


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.support.blocked_platform", "serve"]
    paths = os.pathsep.join([str(ROOT / "app"), str(ROOT)])
    with served(run=command, PYTHONPATH=paths, workers="2") as running:
        yield running


@pytest.mark.live
def test_serves_without_modules_of_other_platforms(server):
    pixels = photo("astronaut", 240, 240)
    with http_client(server) as client:
        response = client.post("/v1/remove", content=png(pixels), headers={"content-type": "image/png"})
    assert response.status_code == 200
    rgba = np.asarray(Image.open(io.BytesIO(response.content)))
    opaque = rgba[..., 3] == 255
    assert 0.1 < opaque.mean() < 0.9
    assert np.array_equal(rgba[opaque][:, :3], pixels[opaque])


@pytest.mark.live
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_blocked_modules_are_not_loaded(server):
    libraries = {os.path.basename(each.path).split(".")[0] for each in server.process_info.memory_maps()}
    assert not libraries & {*MODULES, "loop", "isal_zlib", "igzip_lib"}


def test_second_lock_of_a_file_fails(tmp_path):
    path = tmp_path / "lock"
    with path.open("wb") as first, path.open("ab") as second:
        lock_file(first.fileno())
        with pytest.raises(BlockingIOError):
            lock_file(second.fileno())
    with path.open("rb") as third:
        lock_file(third.fileno())


def test_lock_on_windows_keeps_the_position(tmp_path):
    locked: list[int] = []

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        if position in locked:
            raise PermissionError(13, "Permission denied")
        locked.append(position)

    msvcrt = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"data")
        file.flush()
        _lock_file_on_windows(file.fileno(), msvcrt)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4
        assert locked[0] > 1 << 32  # no data of the file is locked
        with pytest.raises(BlockingIOError):
            _lock_file_on_windows(file.fileno(), msvcrt)
