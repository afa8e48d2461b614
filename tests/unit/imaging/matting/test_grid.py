"""The grid of cells, and sampling on it."""

import cv2
import numpy as np
import pytest

from clearcut.imaging.matting.edge_band import Span
from clearcut.imaging.matting.grid import grid_step, sample_area_at_cells, sample_at_cells


@pytest.mark.parametrize(
    ("height", "width", "values", "step"),
    [
        (300, 400, 320, 1),
        (900, 1200, 320, 5),
        (3000, 4000, 320, 18),
        (4000, 3000, 0, 18),
        (900, 1200, 1024, 2),
        (200, 1600, 320, 3),
        (1600, 100, 320, 2),
        (64, 16384, 320, 5),
        (3000, 16384, 320, 46),
        (1, 16384, 320, 1),
        (5, 5, 320, 1),
    ],
)
def test_grid_step_of_image_sizes(height: int, width: int, values: int, step: int) -> None:
    assert grid_step(height, width, values) == step


def reading(cells: int, step: int, pixels: int, side: int, factor: float) -> np.ndarray:
    """f64[cells,side]: weights of the values along a side in each cell.

    Linear between the two means next to its center: means of n values, if a cell covers factor * n values.
    """
    count = max(1, int(step * side / pixels / factor))
    means = round(side / count)
    scale = step * side / pixels / count
    centers = ((np.arange(cells) + 0.5) * scale - 0.5).clip(0, means - 1)
    linear = np.maximum(0, 1 - np.abs(centers[:, None] - np.arange(means)))
    inside = np.arange(side)[None] // count == np.arange(means)[:, None]
    return np.asarray(linear @ (inside / inside.sum(axis=1, keepdims=True)))


@pytest.mark.parametrize(
    ("height", "width"),
    [(894, 1118), (300, 301), (1, 16384), (16384, 2), (3, 900), (4000, 3000), (5000, 7), (1, 300), (300, 1), (64, 900)],
)
@pytest.mark.parametrize(("sharp", "factor"), [(True, 1.5), (False, 1)])
def test_matte_is_sampled_at_cell_centers(height: int, width: int, sharp: bool, factor: float) -> None:
    """Cells that extend past the frame are excluded: some repeat their neighbors."""
    values = cv2.GaussianBlur(np.random.default_rng(3).random((320, 300), np.float32), (0, 0), 2)
    step = grid_step(height, width)
    found = sample_at_cells(values, step, height, width, sharp=sharp)
    assert found.shape == (-(-height // step), -(-width // step))
    down, across = (
        reading(*each, factor) for each in ((len(found), step, height, 320), (found.shape[1], step, width, 300))
    )
    inside = np.s_[: height // step, : width // step]
    np.testing.assert_allclose(found[inside], (down @ values @ across.T)[inside], atol=1e-3)


@pytest.mark.parametrize("step", [1, 3, 7])
def test_samples_of_area_equal_those_of_image(step: int) -> None:
    values = cv2.GaussianBlur(np.random.default_rng(5).random((80, 90), np.float32), (0, 0), 2)
    height, width = 20 * step, 30 * step
    whole = sample_area_at_cells(values, Span(0, height, 0, width), step, height, width)
    area = Span(4 * step, 17 * step, 6 * step, 29 * step)
    inside = sample_area_at_cells(values, area, step, height, width)
    assert whole.shape == (20, 30)
    np.testing.assert_allclose(inside, whole[4:17, 6:29], atol=1e-3)
