"""The errors of alphamatting.com, on cases that can be counted by hand."""

import numpy as np
import pytest

from models.scoring.matting import connectivity_error, gradient_magnitude, matting_errors


def square(side: int = 60, value: int = 255) -> np.ndarray:
    alpha = np.zeros((side, side), np.uint8)
    alpha[15:45, 15:45] = value
    return alpha


def test_equal_mattes_have_no_error() -> None:
    errors = matting_errors(square(), square())
    assert (errors.sad, errors.mse, errors.gradient, errors.connectivity) == (0, 0, 0, 0)


def test_sad_and_mse_count_pixels() -> None:
    errors = matting_errors(square(value=0), square())
    assert errors.sad == pytest.approx(0.9)
    assert errors.mse == pytest.approx(1e3 * 900 / 3600)


def test_the_gradient_filter_has_unit_norm() -> None:
    spike = np.zeros((31, 31))
    spike[15, 15] = 1
    assert (gradient_magnitude(spike) ** 2).sum() == pytest.approx(2, rel=1e-6)


def test_only_blurred_edges_have_gradient_error() -> None:
    flat = np.full((40, 40), 100, np.uint8)
    assert matting_errors(flat, np.full((40, 40), 200, np.uint8)).gradient == pytest.approx(0, abs=1e-9)
    shifted = np.roll(square(), 3, axis=1)
    assert matting_errors(shifted, square()).gradient > 0


def test_an_island_is_disconnected_and_a_small_dip_is_not() -> None:
    truth = square() / 255.0
    island = truth.copy()
    island[2:6, 2:6] = 1
    assert connectivity_error(island, truth) == pytest.approx(16)
    dip = truth.copy()
    dip[20, 20] = 0.9
    assert connectivity_error(dip, truth) == pytest.approx(0, abs=0.11)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        matting_errors(square(), square(50))
