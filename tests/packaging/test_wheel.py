"""The content and metadata of the wheel, and the lock files of its requirements."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.pylock import Pylock
from packaging.requirements import Requirement

from clearcut import __version__
from clearcut.settings import Settings
from tests.support.live_server import ROOT
from tests.tools.lock_check import PLATFORMS, PYTHONS, packages_without_wheel

EXTRAS = {"azure", "gcs", "heif", "jobs", "models", "otel", "postgres", "ray", "redis", "s3"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MANIFEST = tomllib.loads((ROOT / "models" / "manifest.toml").read_text())
DEFAULT_MODEL = MANIFEST["models"][Settings().model]
MODEL_FILES = {
    DEFAULT_MODEL["file"], MANIFEST["edges"]["file"], *(each["file"] for each in DEFAULT_MODEL["variants"].values()),
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [str(Path(sys.executable).parent / "hatchling"), "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (path,) = folder.iterdir()
    assert path.name == f"clearcut_server-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel) -> email.message.Message:
    return email.message_from_bytes(wheel.read(f"clearcut_server-{__version__}.dist-info/METADATA"))


def test_wheel_has_every_file_of_the_package(wheel):
    command = ["git", "ls-files", "-co", "--exclude-standard", "app/clearcut"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    expected = {name.removeprefix("app/") for name in listed if (ROOT / name).exists()}
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {"clearcut/py.typed", "clearcut/web/playground/index.html"} <= expected
    assert names == expected | {f"clearcut/models/{name}" for name in (*MODEL_FILES, "manifest.toml")}


def test_every_folder_with_modules_is_a_package():
    source = ROOT / "app"
    folders = {each.parent for each in source.rglob("*.py")} - {source}
    assert folders == {each.parent for each in source.rglob("__init__.py")}
    assert {each.relative_to(source).parts[0] for each in folders} == {"clearcut"}


def test_models_of_wheel_are_small_and_unchanged(wheel):
    names = [f"clearcut/models/{name}" for name in MODEL_FILES]
    assert sum(wheel.getinfo(name).file_size for name in names) < 30e6
    for name in names:
        assert wheel.read(name) == (ROOT / "models" / Path(name).name).read_bytes()


def test_metadata_has_name_command_extras_and_licenses(wheel, metadata):
    assert (metadata["Name"], metadata["Version"]) == ("clearcut-server", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS == PYPROJECT["project"]["optional-dependencies"].keys()
    scripts = wheel.read(f"clearcut_server-{__version__}.dist-info/entry_points.txt").decode()
    assert "clearcut = clearcut.__main__:main" in scripts


def test_each_platform_gets_exactly_one_runtime(metadata):
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    for platform in PLATFORMS:
        environment = dict(platform.environment((3, 13)))
        (name,) = [
            each.name
            for each in requirements
            if each.name.startswith("onnxruntime") and each.marker.evaluate(environment)
        ]
        gpu = platform.name in ("Linux x86-64", "Windows x86-64")
        assert name == ("onnxruntime-gpu" if gpu else "onnxruntime"), platform.name


def locked(name: str) -> dict[str, set[str]]:
    """Return the versions by package of a requirements file."""
    versions: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", (ROOT / name).read_text(), re.M):
        versions.setdefault(package, set()).add(version)
    return versions


@pytest.mark.parametrize("name", ["requirements", "deploy/requirements", "deploy/requirements-ray"])
def test_cpu_lock_differs_in_runtime_only(name):
    both, cpu = locked(f"{name}.txt"), locked(f"{name}-cpu.txt")
    assert cpu["onnxruntime"] == both["onnxruntime"] == both.pop("onnxruntime-gpu")
    assert cpu == both
    (line,) = re.findall(r"^onnxruntime==.*$", (ROOT / f"{name}-cpu.txt").read_text(), re.M)
    assert ";" not in line  # on every platform


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("requirements-dev.txt", "requirements.txt"),
        ("requirements-build.txt", "requirements-dev.txt"),
        ("requirements-models.txt", "requirements.txt"),
        ("deploy/requirements.txt", "requirements.txt"),
        ("deploy/requirements-ray.txt", "deploy/requirements.txt"),
        ("deploy/requirements-ray.txt", "requirements-models.txt"),
    ],
)
def test_lock_files_installed_together_agree(name, other):
    first, second = locked(other), locked(name)
    common = first.keys() & second.keys()
    assert len(common) > 2
    assert {each: first[each] for each in common} == {each: second[each] for each in common}


def test_lock_of_models_extra_contains_onnx():
    assert locked("requirements-models.txt")["onnx"] == locked("requirements-dev.txt")["onnx"]
    blocks = re.split(r"\n(?=[a-z])", (ROOT / "requirements-models.txt").read_text())
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_lock_files_name_no_registry():
    paths = [*ROOT.glob("requirements*.txt"), *(ROOT / "deploy").glob("requirements*.txt")]
    assert len(paths) == 9
    assert [path.name for path in paths if "://" in path.read_text()] == []


def lock_of(*packages: dict) -> Pylock:
    return Pylock.from_dict({"lock-version": "1.0", "created-by": "test", "packages": list(packages)})


def package(name: str, *wheels: str, sdist: bool = False, **more: str) -> dict:
    def file(filename: str) -> dict:
        return {"name": filename, "url": f"https://example.com/{filename}", "hashes": {"sha256": "00"}}

    source = {"sdist": file(f"{name}-1.tar.gz")} if sdist else {}
    return {"name": name, "version": "1", "wheels": [file(f"{name}-1-{tags}.whl") for tags in wheels], **source, **more}


def test_lock_check_lists_packages_without_wheel():
    lock = lock_of(
        package("pure", "py3-none-any"),
        package("stable", "cp39-abi3-manylinux_2_28_aarch64", "cp39-abi3-macosx_11_0_arm64", sdist=True),
        package("new", "cp314-cp314-manylinux2014_aarch64"),
        package("late", "cp311-cp311-manylinux_2_34_aarch64", sdist=True),
        package("unix", "cp311-cp311-macosx_15_0_arm64", marker="sys_platform == 'linux'"),
    )
    linux, mac, windows = (next(each for each in PLATFORMS if name in each.name) for name in ("aarch", "mac", "Win"))
    assert list(packages_without_wheel(lock, linux, (3, 11))) == ["new==1", "late==1", "unix==1"]
    assert list(packages_without_wheel(lock, linux, (3, 14))) == ["late==1", "unix==1"]
    assert list(packages_without_wheel(lock, mac, (3, 11))) == ["new==1", "late==1"]
    assert list(packages_without_wheel(lock, windows, (3, 12))) == ["stable==1", "new==1", "late==1"]


def test_lock_check_covers_supported_versions():
    assert PYTHONS[0] == (3, 11)
    assert PYPROJECT["project"]["requires-python"] == ">=3.11"
    assert {each.name.split()[0] for each in PLATFORMS} == {"Linux", "macOS", "Windows"}
    for platform in PLATFORMS:  # the markers that the requirements use have values
        assert Marker("sys_platform != '' and platform_machine != ''").evaluate(dict(platform.environment(PYTHONS[0])))


def test_docs_never_install_the_other_project():
    """On PyPI ``clearcut`` is another project."""
    wrong = re.compile(r"pip install (?:-\S+ )*['\"]?clearcut(?![\w-])")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.*")]
    assert [str(path) for path in pages if wrong.search(path.read_text(errors="replace"))] == []


def test_images_hold_the_files_of_the_default_model():
    ignored = (ROOT / ".dockerignore").read_text().split()
    for dockerfile in ("Dockerfile", "Dockerfile.cuda"):
        words = (ROOT / dockerfile).read_text().split()
        for name in MODEL_FILES:
            assert f"models/{name}" in words
            assert f"!models/{name}" in ignored
