"""Undocumented behavior of OpenCV and Pillow that the code depends on; a failure after an upgrade shows the change."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.support import samples

TO_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def imdecode(data: bytes, flags: int) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_opencv_rotates_by_default(fmt: str) -> None:
    data = getattr(samples, fmt)(samples.corners(48, 32), orientation=6)
    shapes = [imdecode(data, flags).shape[:2] for flags in (cv2.IMREAD_COLOR_RGB, TO_RGB, cv2.IMREAD_UNCHANGED)]
    assert shapes == [(48, 32), (32, 48), (32, 48)]


def test_opencv_and_pillow_decode_jpeg_equally() -> None:
    data = samples.jpeg(samples.photo())
    np.testing.assert_array_equal(imdecode(data, TO_RGB), np.asarray(Image.open(BytesIO(data))))


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_opencv_gives_none_for_truncated_files(fmt: str) -> None:
    data = getattr(samples, fmt)(samples.photo())
    for share in (0.1, 0.5, 0.95):
        assert imdecode(data[: int(len(data) * share)], TO_RGB) is None


def test_opencv_keeps_16_bits_only_unchanged() -> None:
    data = samples.png_raw(np.full((4, 4, 3), 40_000, np.uint16), 16, 2)
    assert imdecode(data, cv2.IMREAD_UNCHANGED).dtype == np.uint16
    assert imdecode(data, TO_RGB).dtype == np.uint8


def test_opencv_drops_transparency_of_gray_png() -> None:
    key = samples.png_chunk(b"tRNS", bytes(2))
    assert imdecode(samples.png_raw(np.zeros((4, 4, 1), np.uint8), 8, 0, extra=key), cv2.IMREAD_UNCHANGED).ndim == 2
    key = samples.png_chunk(b"tRNS", bytes(6))
    assert imdecode(samples.png_raw(np.zeros((4, 4, 3), np.uint8), 8, 2, extra=key), cv2.IMREAD_UNCHANGED).shape[2] == 4


def test_opencv_ignores_gamma_and_profiles() -> None:
    pixels = samples.corners()
    data = samples.png(pixels, icc_profile=samples.icc_rgb(curve=samples.gamma_curve(1.0)))
    np.testing.assert_array_equal(imdecode(data, TO_RGB), pixels)


def test_linear_halving_is_mean_of_four() -> None:
    pixels = samples.photo("coffee", 300, 200)
    half = cv2.resize(pixels, (150, 100), interpolation=cv2.INTER_LINEAR)
    mean = pixels.reshape(100, 2, 150, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - mean).max() <= 0.5


def test_opencv_division_by_zero_is_zero() -> None:
    top, bottom = np.meshgrid(np.arange(0, 65_026, 251, dtype=np.uint16), np.arange(0, 65_026, 255, dtype=np.uint16))
    got = cv2.divide(top, bottom, scale=255, dtype=cv2.CV_8U)
    assert not got[bottom == 0].any()
    some = bottom > 0
    expected = np.clip(top[some] * 255.0 / bottom[some], 0, 255)
    assert np.abs(got[some] - expected).max() <= 0.5 + 1e-3


def test_pillow_refuses_truncated_files() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
