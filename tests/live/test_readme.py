"""The README's curl lines, run as they stand against the real server."""

import io
import re
import subprocess
import zipfile

import cv2
import pytest
from PIL import Image
from skimage import data

from tests.readme import README

BLOCKS = re.findall(r"^```bash\n(.*?)^```", README.read_text(), re.M | re.S)

pytestmark = pytest.mark.live


def test_the_readme_has_curl_lines():
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.search(r"-o (\S+)", block)[1])
def test_curl_line_works_as_written(block, server, tmp_path):
    cv2.imwrite(str(tmp_path / "photo.jpg"), data.astronaut()[..., ::-1])
    script = block.replace("http://127.0.0.1:8080", server.base_url).replace("curl ", "curl -sS --fail-with-body ")
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (name,) = re.findall(r"-o (\S+)", block)
    content = (tmp_path / name).read_bytes()
    if name.endswith(".zip"):
        assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == 4
        return
    picture = Image.open(io.BytesIO(content))
    expected = {
        "cutout.png": ("PNG", "RGBA", (512, 512)),
        "product.jpg": ("JPEG", "RGB", None),
        "preview.webp": ("WEBP", "RGBA", (256, 256)),
        "matte.png": ("PNG", "L", (512, 512)),
        "tile.png": ("PNG", "RGB", (600, 600)),
    }[name]
    assert (picture.format, picture.mode) == expected[:2]
    if expected[2] is not None:
        assert picture.size == expected[2]
    if name == "tile.png":
        assert picture.getpixel((0, 0)) != (255, 255, 255)
