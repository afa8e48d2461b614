"""Installs the wheel into empty environments outside the repository and uses it there: ``make test-packaging``.

One environment has the runtime of the platform, the other one the CPU runtime in the locked versions.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.live_server import ROOT, Server, http_client, served
from tests.support.samples import jpeg, photo, png

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.timeout(900)]

API = """
import io, pathlib, sys
import numpy as np
from PIL import Image
import clearcut
from clearcut import RemoverResult, Remover, remove

assert pathlib.Path(clearcut.__file__).is_relative_to(sys.prefix), clearcut.__file__
path = pathlib.Path("photo.png")
opened = Image.open(path)
array = np.asarray(opened)
expected = np.asarray(Image.open(io.BytesIO(remove(path.read_bytes()))))
assert expected.shape == (*array.shape[:2], 4)
assert Image.open(io.BytesIO(remove(path.read_bytes(), format="webp"))).format == "WEBP"
for image in (remove(opened), remove(path), remove(str(path))):
    assert isinstance(image, Image.Image) and image.mode == "RGBA"
    assert np.array_equal(np.asarray(image), expected)
four = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
for pixels in (array, four):
    for channels, count in {"rgba": 4, "rgb": 3, "alpha": 1}.items():
        result = remove(pixels, channels=channels)
        assert result.dtype == np.uint8 and result.shape == (*array.shape[:2], count), (channels, result.shape)
    assert np.array_equal(remove(pixels), expected)
with Remover() as remover:
    cut = remover.cut(array)
assert isinstance(cut, RemoverResult) and np.array_equal(cut.image, expected)
assert cut.alpha.shape == array.shape[:2] and 0 < cut.confidence <= 1 and cut.timings
assert cut.box.width > 100 and cut.box.height > 100
"""


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel, and a folder to work in."""

    venv: Path
    folder: Path
    variables: dict[str, str]

    def run(self, *words: str, code: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a program of the environment and require its exit code."""
        done = subprocess.run(
            [str(self.venv / "bin" / words[0]), *words[1:]],
            cwd=self.folder, env=self.variables, input=stdin, capture_output=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done

    def megabytes(self) -> float:
        """Return the size of the environment without pip."""
        files = (path for path in self.venv.rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in files if "pip" not in path.parts) / 1e6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [str(Path(sys.executable).parent / "hatchling"), "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (path,) = folder.iterdir()
    return path


def install(folder: Path, *commands: list[str]) -> Installation:
    """Create an environment, run pip with each list of arguments, and make the first cut-out."""
    assert ROOT not in folder.parents
    ours = ("PYTHON", "CLEARCUT", "VIRTUAL")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120, env=variables)
    installation = Installation(folder / "venv", folder / "work", variables)
    installation.folder.mkdir()
    (installation.folder / "photo.png").write_bytes(png(photo("astronaut", 320, 320)))
    for command in commands:
        installation.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *command)
    installed = time.perf_counter()
    installation.run("clearcut", "cut", "photo.png", "first.png")
    print(
        f"\n{commands[0]}: {installation.megabytes():.0f} MB, installed after {installed - begun:.0f} s, "
        f"first cut-out after {time.perf_counter() - begun:.0f} s"
    )
    return installation


@pytest.fixture(scope="module")
def installation(wheel, tmp_path_factory) -> Installation:
    return install(tmp_path_factory.mktemp("default"), [str(wheel)])


@pytest.fixture(scope="module")
def server(installation) -> Iterator[Server]:
    command = [str(installation.venv / "bin" / "clearcut"), "serve"]
    with served(run=command, cwd=installation.folder, PYTHONPATH="") as running:
        yield running


def assert_cutout(data: bytes, pixels: np.ndarray) -> None:
    """Require a cut-out with the pixels of the photo where it is opaque."""
    rgba = np.asarray(Image.open(io.BytesIO(data)))
    opaque = rgba[..., 3] == 255
    assert 0.1 < opaque.mean() < 0.9
    assert np.array_equal(rgba[opaque][:, :3], pixels[opaque])


def test_one_file(installation):
    assert_cutout((installation.folder / "first.png").read_bytes(), photo("astronaut", 320, 320))


def test_folder_with_broken_file_then_second_run(installation):
    photos = installation.folder / "photos"
    (photos / "sub").mkdir(parents=True)
    (photos / "a.jpg").write_bytes(jpeg(photo("astronaut", 300, 200)))
    (photos / "sub" / "b.jpg").write_bytes(jpeg(photo("chelsea", 300, 200)))
    (photos / "broken.jpg").write_bytes(jpeg(photo("coffee", 300, 200))[:100])

    def statuses(name: str) -> dict[str, str]:
        with (installation.folder / name).open(newline="") as file:
            return {Path(row["file"]).name: row["status"] for row in csv.DictReader(file)}

    def outputs() -> dict[str, int]:
        folder = installation.folder / "cutouts"
        return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}

    done = installation.run("clearcut", "cut", "photos", "cutouts", "--report", "one.csv", code=1)
    assert b"broken.jpg" in done.stderr
    assert statuses("one.csv") == {"a.jpg": "ok", "b.jpg": "ok", "broken.jpg": "error"}
    first = outputs()
    assert first.keys() == {"a.png", "sub/b.png"}
    installation.run("clearcut", "cut", "photos", "cutouts", "--report", "two.csv", code=1)
    assert statuses("two.csv") == {"a.jpg": "skipped", "b.jpg": "skipped", "broken.jpg": "error"}
    assert outputs() == first


def test_standard_streams(installation):
    pixels = photo("astronaut", 320, 320)
    done = installation.run("clearcut", "cut", "-", "-", stdin=png(pixels))
    assert_cutout(done.stdout, pixels)


def test_python_api(installation):
    installation.run("python", "-c", API)


def test_types_are_visible_to_type_checkers(installation):
    code = "import clearcut\nreveal_type(clearcut.remove)\nclearcut.Remover(model=1)\n"
    python = str(installation.venv / "bin" / "python")
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "--follow-imports=silent", "-c", code]
    where = {"cwd": installation.folder, "env": installation.variables}
    done = subprocess.run(command, **where, capture_output=True, text=True, timeout=300, check=False)
    assert 'Argument "model" to "Remover" has incompatible type "int"' in done.stdout
    assert "Overload" in done.stdout or "def (" in done.stdout


def test_serves_cutout_and_page(server):
    pixels = photo("astronaut", 320, 320)
    with http_client(server) as client:
        response = client.post("/v1/remove", files={"image_file": png(pixels)})
        page = client.get("/", headers={"accept": "text/html"})
        example = client.get("/v1/info")
    assert response.status_code == 200
    assert_cutout(response.content, pixels)
    assert "</html>" in page.text
    assert example.json()["model"]["name"] == "clearcut-m"


def test_command_uses_running_server(installation, server):
    pixels = photo("astronaut", 320, 300)
    (installation.folder / "low.png").write_bytes(png(pixels))
    installation.run("clearcut", "cut", "low.png", "remote.png", "--server", server.base_url)
    assert_cutout((installation.folder / "remote.png").read_bytes(), pixels)
    server.event("request", route="/v1/remove", height=300)


def test_check_and_models_of_wheel(installation):
    assert b"ready to serve" in installation.run("clearcut", "check").stdout
    verified = installation.run("clearcut", "models", "verify").stdout.decode()
    assert verified.count("good") == 4  # clearcut-m in three precisions, and the edge model
    assert str(installation.venv) in verified
    done = installation.run("clearcut", "cut", "photo.png", "other.png", "--model", "clearcut-s", code=1)
    assert b"clearcut-s.onnx" in done.stderr


def test_extra_is_installed_with_wheel(installation, wheel):
    installation.run("python", "-m", "pip", "install", "--quiet", f"{wheel}[redis]")
    installation.run("python", "-c", "import redis")


def test_locked_cpu_runtime(wheel, tmp_path):
    locked = str(ROOT / "requirements-cpu.txt")
    installation = install(tmp_path, ["--require-hashes", "-r", locked], ["--no-deps", str(wheel)])
    assert_cutout((installation.folder / "first.png").read_bytes(), photo("astronaut", 320, 320))
    names = installation.run("python", "-m", "pip", "list").stdout.decode()
    assert "onnxruntime " in names
    assert "onnxruntime-gpu" not in names
