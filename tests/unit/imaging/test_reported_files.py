"""The files behind public bug reports in ../shared/cases. The same cases are generated in ``formats/``."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from clearcut.errors import CorruptImage
from clearcut.imaging.decode import decode
from clearcut.imaging.matting.input_alpha import is_cutout
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ProbeLimits

CASES = Path(__file__).parents[4] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is absent")


def opened(name: str) -> DecodedImage:
    data = (CASES / name).read_bytes()
    return decode(data, probe(data, ProbeLimits()))


def by_pillow(data: bytes, frame: int = 0) -> np.ndarray:
    image = Image.open(BytesIO(data))
    image.seek(frame)
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("name", ["no_eoi.jpg", "no_eoi_zero_trailer.jpg", "no_eoi_samsung_trailer.jpg"])
def test_missing_end_marker(name: str) -> None:
    data = (CASES / "no_eoi.jpg").read_bytes()
    np.testing.assert_array_equal(opened(name).rgb, by_pillow(data + b"\xff\xd9"))


@pytest.mark.parametrize("name", ["half_plus_eoi.jpg", "zero_hole.jpg"])
def test_missing_blocks(name: str) -> None:
    with pytest.raises(CorruptImage, match="blocks of the image are missing"):
        opened(name)


@pytest.mark.parametrize("name", ["no_iend.png", "iend_no_crc.png", "no_adler.png", "small_window_cinfo.png"])
def test_incomplete_png(name: str) -> None:
    np.testing.assert_array_equal(opened(name).rgb, by_pillow((CASES / name).read_bytes()))


def test_hidden_default_image() -> None:
    data = (CASES / "apng_hidden_default.png").read_bytes()
    np.testing.assert_array_equal(opened("apng_hidden_default.png").rgb, by_pillow(data, frame=1))
    assert not np.array_equal(by_pillow(data, frame=1), by_pillow(data))


def test_orientation_as_long() -> None:
    expected = by_pillow((CASES / "exif6_LONG_le.jpg").read_bytes())
    assert expected.shape == (240, 160, 3)
    np.testing.assert_array_equal(opened("exif6_LONG_le.jpg").rgb, expected)


def test_colors_by_cicp_and_by_profile() -> None:
    np.testing.assert_array_equal(opened("p3_by_cicp.png").rgb, opened("p3_by_iccp.png").rgb)


def test_invalid_scan_parameters(capfd: pytest.CaptureFixture[str]) -> None:
    data = (CASES / "sos_params_000.jpg").read_bytes()
    np.testing.assert_array_equal(opened("sos_params_000.jpg").rgb, by_pillow(data))
    assert capfd.readouterr().err == ""


def test_transparent_collage() -> None:
    image = opened("transparent_multi.png")
    assert image.alpha is not None
    assert is_cutout(image.alpha)
