"""Runs the ```bash blocks of README and docs and the README's clients unchanged against the real server."""

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile

import cv2
import pytest
from PIL import Image
from skimage import data

from tests.support.live_server import environment
from tests.tools.readme import DOCS, PAGES, README, ROOT

CURL = "curl "
URL = "http://127.0.0.1:8080"
EXPECTED = {
    "cutout.png": ("PNG", "RGBA", (512, 512)),
    "product.jpg": ("JPEG", "RGB", None),
    "preview.webp": ("WEBP", "RGBA", (256, 256)),
    "matte.png": ("PNG", "L", (512, 512)),
    "tile.png": ("PNG", "RGB", (600, 600)),
    "listing.jpg": ("JPEG", "RGB", (1000, 1000)),
}
"""Format, mode and size of an output by its name. Other outputs are only opened."""
ENTRIES = {"cutouts.zip": 4, "variants.zip": 2}


def fenced(path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)


BLOCKS = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in PAGES
    for number, block in enumerate(fenced(path, "bash"), 1)
]

pytestmark = pytest.mark.live


@pytest.fixture
def folder(tmp_path):
    """A folder with a photo, the working directory of a block."""
    cv2.imwrite(str(tmp_path / "photo.jpg"), data.astronaut()[..., ::-1])
    return tmp_path


def test_readme_has_five_curl_examples():
    assert sum(CURL in block for block in fenced(README, "bash")) >= 5


@pytest.mark.parametrize("block", BLOCKS)
def test_bash_block_works_as_written(block, server, folder):
    run_block(block, server, folder)
    for name in re.findall(r"-o (\S+)", block):
        check_output(folder / name)


def test_readme_blocks_work_in_order_in_one_folder(server, folder):
    """`clearcut cut` skips an output that exists, so no block may write a file of an earlier block."""
    outputs: list[str] = []
    for block in fenced(README, "bash"):
        for name in outputs:
            (folder / name).write_bytes(b"")
        run_block(block, server, folder)
        found = re.findall(r"-o (\S+)|clearcut cut \S+ (\S+)|save\('([^']+)'\)", block)
        names = ["".join(each) for each in found]
        for name in names:
            check_output(folder / name)
        outputs += names
    assert {"cutout.png", "cutout-command.png", "cutout-python.png"} <= set(outputs)


def test_python_client_works_as_written(server, folder):
    (client,) = fenced(README, "python")
    run([sys.executable, "-c", client.replace(URL, server.base_url)], folder)
    check_output(folder / "cutout.png")


@pytest.mark.parametrize("code", fenced(DOCS / "cli-and-python.md", "python"))
def test_python_api_example_works_as_written(code, folder):
    run([sys.executable, "-W", "ignore::ResourceWarning", "-c", code], folder)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_client_works_as_written(server, folder):
    (client,) = fenced(README, "js")
    run(["node", "--input-type=module", "-e", client.replace(URL, server.base_url)], folder)
    check_output(folder / "cutout.png")


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
def test_php_client_works_as_written(server, folder):
    (client,) = fenced(README, "php")
    (folder / "client.php").write_text(client.replace(URL, server.base_url))
    run(["php", "client.php"], folder)
    check_output(folder / "cutout.png")


def run_block(block: str, server, folder) -> None:
    script = block.replace(URL, server.base_url).replace(CURL, "curl -sS ")
    script = script.replace(".venv/bin/python", sys.executable)
    script = script.replace(".venv/bin/clearcut", f"{sys.executable} -m clearcut")
    run(["bash", "-euo", "pipefail", "-c", script], folder)


def run(command: list[str], folder) -> None:
    env = environment(PYTHONPATH=os.pathsep.join([str(ROOT / "app"), str(ROOT)]))
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_output(path) -> None:
    content = path.read_bytes()
    if path.name in ENTRIES:
        assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == ENTRIES[path.name]
        return
    image = Image.open(io.BytesIO(content))
    image.load()
    if path.name in EXPECTED:
        kind, mode, size = EXPECTED[path.name]
        assert (image.format, image.mode) == (kind, mode)
        assert size in (None, image.size)
    if path.name == "tile.png":
        assert image.getpixel((0, 0)) != (255, 255, 255)
