"""Matting metrics on cases with known results."""

from __future__ import annotations

import numpy as np
import pytest

from models.scoring import segmentation


def _square(side: int = 64, low: int = 16, high: int = 48) -> np.ndarray:
    mask = np.zeros((side, side), np.float32)
    mask[low:high, low:high] = 1
    return mask


def test_perfect_matte_has_perfect_scores() -> None:
    mask = _square()
    scores = segmentation.score(mask, mask)
    assert scores.mae == 0
    assert scores.iou == 1
    assert scores.s_measure == pytest.approx(1, abs=1e-6)
    assert scores.boundary_f == 1


def test_mae_is_the_share_of_wrong_pixels_for_binary_mattes() -> None:
    assert segmentation.mae(np.zeros((64, 64), np.float32), _square()) == pytest.approx(0.25)


def test_iou_of_half_is_one_half() -> None:
    half = _square()
    half[:, 32:] = 0
    assert segmentation.iou(half, _square()) == pytest.approx(0.5)


def test_iou_of_empty_mattes_is_one() -> None:
    empty = np.zeros((8, 8), np.float32)
    assert segmentation.iou(empty, empty) == 1
    assert segmentation.iou(empty + 1, empty) == 0


def test_s_measure_of_empty_truth_is_one_minus_mean() -> None:
    truth = np.zeros((10, 10), np.float32)
    assert segmentation.s_measure(np.full((10, 10), 0.3), truth) == pytest.approx(0.7)
    assert segmentation.s_measure(np.full((10, 10), 0.3), truth + 1) == pytest.approx(0.3)


def test_s_measure_prefers_better_structure() -> None:
    truth = _square()
    noise = np.random.default_rng(0).uniform(0, 1, truth.shape)
    good, bad = segmentation.s_measure(truth * 0.8, truth), segmentation.s_measure(noise, truth)
    assert 0 <= bad < good < 1


def test_boundary_f_tolerates_small_shifts_only() -> None:
    mask = _square(400, 100, 300)  # diagonal 566: within 3 pixels
    assert segmentation.boundary_f(np.roll(mask, 2, axis=1), mask) == pytest.approx(1)
    assert segmentation.boundary_f(np.roll(mask, 12, axis=(0, 1)), mask) < 0.1


def test_boundary_f_of_empty_matte_is_zero() -> None:
    assert segmentation.boundary_f(np.zeros((64, 64), np.float32), _square()) == 0
    assert segmentation.boundary_f(np.zeros((64, 64)), np.zeros((64, 64))) == 1


def test_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        segmentation.score(np.zeros((4, 4)), np.zeros((4, 5)))


def test_cut_share_counts_values_above_one_half() -> None:
    assert segmentation.cut_share(_square()) == pytest.approx(0.25)
