"""Bulk runs from and to gs:// and az:// on emulators. `make test-ray` installs both; Azurite needs npm."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live_server import ROOT
from tests.support.proxies import free_port
from tests.support.ray_runs import TIMEOUT_S, cut, failures, files, responds, wait_until, write_images

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.timeout(2 * TIMEOUT_S),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="not installed: ray; run `make test-ray`"),
]
AZURITE = ROOT / ".cache" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's published key of the account devstoreaccount1."""


@contextlib.contextmanager
def running(command: list[object], url: str, log: Path) -> Iterator[None]:
    """Run a server until the end of the context."""
    with log.open("wb") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out, cwd=log.parent)
    try:
        wait_until(lambda: responds(url))
        yield
    finally:
        process.kill()
        process.wait(30)


@contextlib.contextmanager
def google_emulator(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server of Google Cloud Storage with a bucket and yield the variables that select it."""
    missing = [name for name in ("gcsfs", "gcp_storage_emulator") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    port = free_port()
    arguments = ["start", "--host", "127.0.0.1", "--port", port, "--in-memory", "--default-bucket", "bucket"]
    url = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "gcp_storage_emulator", *arguments], url, folder / "server.log"):
        yield {"STORAGE_EMULATOR_HOST": url}


@contextlib.contextmanager
def azure_emulator(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server of Azure Blob Storage with a bucket and yield the variables that select it."""
    node = shutil.which("node")
    if node is None or not AZURITE.is_file() or importlib.util.find_spec("adlfs") is None:
        pytest.skip("not installed: node, azurite or adlfs")
    import adlfs

    port = free_port()
    arguments = ["--blobHost", "127.0.0.1", "--blobPort", port, "--inMemoryPersistence", "--skipApiVersionCheck"]
    url = f"http://127.0.0.1:{port}"
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
        f"BlobEndpoint={url}/devstoreaccount1;"
    )
    with running([node, AZURITE, *arguments], url, folder / "server.log"):
        adlfs.AzureBlobFileSystem(connection_string=connection).mkdir("bucket")
        yield {"AZURE_STORAGE_CONNECTION_STRING": connection}


@pytest.mark.parametrize(("scheme", "emulator"), [("gs", google_emulator), ("az", azure_emulator)])
def test_bucket_gives_the_outputs_of_a_folder(scheme, emulator, tmp_path, monkeypatch):
    from clearcut.batch.object_store import ObjectStore

    photos = tmp_path / "in"
    broken = write_images(photos, 12, 2)
    cut(photos, tmp_path / "plain", code=1)
    with emulator(tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        bucket = ObjectStore(f"{scheme}://bucket")
        for key, data in files(photos).items():
            bucket.write(f"{scheme}://bucket/in/{key}", data)
        failed = tmp_path / "failed"
        source, target = f"{scheme}://bucket/in", f"{scheme}://bucket/out/a"
        cut(source, target, "--ray", "local", "--failures", failed, code=1)
        written = {key: bucket.read(f"{target}/{key}") for key in bucket.list_keys(target)}
    assert written == files(tmp_path / "plain")
    assert {each["key"] for each in failures(failed)} == broken
