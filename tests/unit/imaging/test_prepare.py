from __future__ import annotations

import cv2
import numpy as np
import pytest

from clearcut.imaging.prepare import normalize, prepare
from clearcut.imaging.types import DecodedImage, InputSpec
from tests.support import samples

IMAGENET = InputSpec(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = InputSpec(64, (0, 0, 0), (1, 1, 1))


def area_mean(pixels: np.ndarray, side: int) -> np.ndarray:
    """f64[S,S,3]: the definition, for sizes that ``side`` divides."""
    height, width = pixels.shape[:2]
    blocks = pixels.reshape(side, height // side, side, width // side, 3).astype(np.float64)
    return blocks.mean(axis=(1, 3))


def test_normalize_matches_formula() -> None:
    small = samples.photo("coffee", 64, 64)
    spec = InputSpec(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = ((small.astype(np.float64) / 255 - spec.mean) / spec.std).transpose(2, 0, 1)
    got = normalize(small, spec)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert np.abs(got - expected).max() < 1e-5


def test_normalize_with_other_scale() -> None:
    small = samples.photo("coffee", 64, 64)
    spec = InputSpec(64, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4), scale=1.0)
    expected = ((small.astype(np.float64) - spec.mean) / spec.std).transpose(2, 0, 1)
    assert np.abs(normalize(small, spec) - expected).max() < 1e-5


@pytest.mark.parametrize(("width", "height"), [(128, 256), (192, 320)])
def test_prepare_is_area_mean(width: int, height: int) -> None:
    pixels = samples.photo("astronaut", width, height)
    got = prepare(DecodedImage(pixels), PLAIN)
    assert got.tensor.shape == (3, 64, 64)
    expected = area_mean(pixels, 64).transpose(2, 0, 1)
    assert np.abs(got.tensor * 255 - expected).max() <= 0.51  # eight bits between reduction and normalisation


def test_halving_differs_only_by_rounding() -> None:
    pixels = samples.photo("astronaut", 1536, 1024)
    got = prepare(DecodedImage(pixels), PLAIN).tensor * 255
    expected = area_mean(pixels, 64).transpose(2, 0, 1)
    assert np.abs(got - expected).max() <= 0.5 + 3 * 0.5  # three halvings, each rounded
    assert np.abs(got - expected).mean() < 0.4


@pytest.mark.parametrize(("width", "height"), [(200, 230), (1155, 866)])
def test_linear_reduction_is_close_to_area_mean(width: int, height: int) -> None:
    spec = InputSpec(64, (0, 0, 0), (1, 1, 1))
    pixels = samples.photo("coffee", width, height)
    expected = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    off = np.abs(prepare(DecodedImage(pixels), spec).tensor * 255 - expected)
    assert off.mean() < 1.5
    assert np.percentile(off, 99) < 10


def test_odd_sizes_keep_alignment() -> None:
    pixels = samples.corners(1537, 1023)
    got = (prepare(DecodedImage(pixels), PLAIN).tensor * 255).round()
    for down, across in ((2, 2), (2, 61), (61, 2), (61, 61)):
        expected = pixels[1022 * down // 63, 1536 * across // 63]
        assert got[:, down, across].tolist() == expected.tolist()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 5), (16_384, 1), (1, 16_384), (64, 64)])
def test_any_size_becomes_the_square(width: int, height: int) -> None:
    got = prepare(DecodedImage(np.full((height, width, 3), 51, np.uint8)), PLAIN).tensor
    assert got.shape == (3, 64, 64)
    assert np.abs(got - 0.2).max() < 1e-6


def test_transparent_input_is_blended_over_mid_gray() -> None:
    rgb = np.zeros((128, 128, 3), np.uint8)
    rgb[:] = (255, 0, 0)
    alpha = np.full((128, 128), 255, np.uint8)
    alpha[:, 64:] = 0
    alpha[64:, :64] = 51
    got = prepare(DecodedImage(rgb, alpha), PLAIN).tensor * 255
    assert got[:, 10, 10].round().tolist() == [255, 0, 0]
    assert got[:, 10, 50].round().tolist() == [128, 128, 128]
    assert got[:, 50, 10].round().tolist() == [round(0.2 * 255 + 0.8 * 128), round(0.8 * 128), round(0.8 * 128)]
    assert np.array_equal(rgb[0, 100], (255, 0, 0))
