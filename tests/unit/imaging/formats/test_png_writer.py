from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from clearcut.imaging.compositing.blend import to_rgba
from clearcut.imaging.formats.png_file import writer
from clearcut.imaging.formats.png_file.chunks import chunks
from clearcut.imaging.formats.png_file.compiled_rows import load_compiled_rows
from clearcut.imaging.formats.png_file.writer import encode_masked_png, encode_png
from tests.support import samples


def images() -> dict[str, np.ndarray]:
    photo = samples.photo("astronaut")
    alpha = samples.disc(*photo.shape[:2])
    noise = np.random.default_rng(1).integers(0, 256, (700, 900, 4), np.uint8)
    cases = {"photo": photo, "rgba": np.dstack([photo, alpha]), "gray": alpha[:, :, None], "noise": noise}
    for channels in (1, 3, 4):
        for width, height in ((1, 1), (16_384, 1), (1, 16_384), (5, 3)):
            cases[f"{width}x{height}x{channels}"] = noise.reshape(-1)[: width * height * channels].reshape(
                height, width, channels
            )
    return cases


IMAGES = images()


@pytest.fixture(params=["compiled", "isal", "zlib"])
def deflate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        if writer._compiled_rows is None:
            pytest.skip("rows.c is not compiled: make setup needs a C compiler")
        return "compiled"
    monkeypatch.setattr(writer, "_compiled_rows", None)
    if request.param == "zlib":
        monkeypatch.setattr(writer, "deflate", zlib)
    else:
        pytest.importorskip("isal")
    return str(request.param)


@pytest.mark.parametrize("name", IMAGES)
def test_round_trip_through_other_decoders(name: str, deflate: str) -> None:
    pixels = IMAGES[name]
    data = encode_png(pixels)
    with Image.open(BytesIO(data), formats=["PNG"]) as opened:
        opened.load()
        by_pillow = np.asarray(opened).reshape(pixels.shape)
    np.testing.assert_array_equal(by_pillow, pixels)
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert by_opencv is not None
    if pixels.shape[2] > 1:
        order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        by_opencv = cv2.cvtColor(by_opencv, order)
    np.testing.assert_array_equal(by_opencv.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("seed", range(4))
def test_rare_bytes_and_zero_runs_round_trip(seed: int, deflate: str) -> None:
    random = np.random.default_rng(seed)
    residuals = np.minimum(random.geometric(0.5, (300, 400, 4)) * (1 + seed * 3), 255).astype(np.uint8)
    residuals[random.random((300, 400)) < 0.3] = 0
    residuals[100:140, seed * 9 :] = 0
    pixels = np.cumsum(residuals, axis=1, dtype=np.uint8)
    pixels[200:290] = 0
    for view in (pixels, pixels[:, 3:390], pixels[:211, :7, :1], pixels[:, :, :3]):
        with Image.open(BytesIO(encode_png(view)), formats=["PNG"]) as opened:
            np.testing.assert_array_equal(np.asarray(opened).reshape(view.shape), view)


def test_compiled_rows_are_smaller_than_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    if writer._compiled_rows is None:
        pytest.skip("rows.c is not compiled: make setup needs a C compiler")
    pixels = to_rgba(samples.photo("astronaut"), samples.disc(512, 512))
    compiled = len(encode_png(pixels))
    monkeypatch.setattr(writer, "_compiled_rows", None)
    assert compiled < len(encode_png(pixels))


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize(("old", "new", "loads"), [("", "", True), ("return 2;", "return 1;", False)])
def test_compiled_library_loads_only_with_its_version(tmp_path: Path, old: str, new: str, loads: bool) -> None:
    folder = Path(writer.__file__).parent
    source = (folder / "rows.c").read_text()
    assert source.count("return 2;") == 1
    (tmp_path / "rows.c").write_text(source.replace(old, new) if old else source)
    command = ["cc", "-O1", "-shared", "-fPIC", "-I", folder, "-o", "rows.so", "rows.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (load_compiled_rows(tmp_path / "rows.so") is not None) == loads


def test_missing_library_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    assert load_compiled_rows(tmp_path / "missing.so") is None
    assert load_compiled_rows(tmp_path / "text.so") is None


def test_file_has_exactly_the_required_chunks() -> None:
    view = memoryview(encode_png(IMAGES["rgba"]))
    found = list(chunks(view))
    assert [chunk.kind for chunk in found] == [b"IHDR", b"sRGB", b"IDAT", b"IEND"]
    assert found[-1].end + 4 == len(view)
    for chunk in found:
        checksum = int.from_bytes(view[chunk.end : chunk.end + 4], "big")
        assert checksum == zlib.crc32(view[chunk.start - 4 : chunk.end])


def test_smaller_than_pillow_at_equal_effort() -> None:
    pixels = IMAGES["rgba"].copy()
    pixels[pixels[:, :, 3] == 0] = 0
    assert len(encode_png(pixels)) < 1.1 * len(samples.png(pixels))


def test_encoding_releases_the_gil() -> None:
    pixels = np.dstack([samples.photo("astronaut", 2400, 2400), np.full((2400, 2400), 255, np.uint8)])
    turns = 0
    done = threading.Event()

    def spin() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        before = turns
        encode_png(pixels)
        gained = turns - before
    finally:
        done.set()
        spinner.join()
    assert gained > 1000  # a few, if the call kept the interpreter to itself


@pytest.mark.parametrize(
    ("height", "width", "top", "bottom", "left", "right"),
    [
        (700, 900, 200, 500, 100, 650),
        (700, 900, 699, 700, 899, 900),
        (700, 900, 0, 700, 0, 900),
        (700, 900, 0, 0, 0, 0),
        (1, 1, 0, 1, 0, 1),
        (3, 16_384, 1, 2, 7, 8),
        (16_384, 3, 9_000, 16_000, 1, 3),
    ],
)
def test_masked_file_equals_rgba_file(height, width, top, bottom, left, right) -> None:
    random = np.random.default_rng(3)
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    alpha[top:bottom, left:right] = random.choice([0, 1, 9, 128, 255], (bottom - top, right - left))
    file = encode_masked_png(rgb, alpha)
    assert file == encode_png(to_rgba(rgb, alpha))
    pixels = np.asarray(Image.open(BytesIO(file)).convert("RGBA"))
    assert (pixels[..., 3] == alpha).all()
    assert (pixels[..., :3] == rgb * (alpha > 0)[..., None]).all()
