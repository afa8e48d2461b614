"""What the edge model adds: nothing on average, and nothing where colours tell the edge."""

import numpy as np
import pytest

from clearcut.imaging.matting.edge_correction import edge_correction

Planes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def planes(height: int, width: int) -> Planes:
    rng = np.random.default_rng(height)
    guide = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    raw = rng.random((height, width), np.float32)
    return raw * np.float32(255), guide, raw, (rng.random((height, width)) < 0.7).astype(np.uint8)


def told(height: int, width: int, share: float) -> np.ndarray:
    return np.full((-(-height // 2), -(-width // 2)), share, np.float32)


SHAPES = [(40, 60), (41, 61), (1, 30), (30, 1), (3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_one_and_the_same_everywhere_is_nothing(shape: tuple[int, int]) -> None:
    added = edge_correction(*planes(*shape), told(*shape, 0.2), lambda _, values, __: np.full_like(values, 0.3))
    assert added.shape == shape
    assert np.abs(added).max() < 255 * 0.3 * 1e-3


def stripes(_guide: np.ndarray, values: np.ndarray, _fitted: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.where(np.arange(values.shape[1]) % 2, 0.1, -0.1), values.shape).astype(np.float32)


def test_an_edge_that_moves_is_kept_and_cells_without_one_are_left() -> None:
    level, guide, raw, _ = planes(40, 60)
    edge = np.zeros((40, 60), np.uint8)
    edge[:, 10:40] = 1
    added = edge_correction(level, guide, raw, edge, told(40, 60, 0.2), stripes)
    assert not added[edge == 0].any()
    np.testing.assert_allclose(np.abs(added[edge > 0]), 25.5, rtol=0.02)


def test_the_model_has_less_of_a_say_the_more_colours_tell() -> None:
    size = [
        float(np.abs(edge_correction(*planes(40, 60), told(40, 60, share), stripes)).sum())
        for share in (0.0, 0.8, 0.85, 0.9, 0.95, 1.0)
    ]
    assert size[0] == pytest.approx(size[1], rel=1e-5)
    assert size[1] > size[2] > size[3] > 0.2 * size[1]
    assert size[4] < 1e-3 * size[1]
    assert size[5] == 0


def test_what_colours_tell_here_and_there_does_not_count() -> None:
    """A few blocks that are told among many that are not take little away."""
    shares = told(60, 60, 0.2)
    shares[14:16, 14:16] = 1
    whole = edge_correction(*planes(60, 60), told(60, 60, 0.2), stripes)
    np.testing.assert_array_equal(edge_correction(*planes(60, 60), shares, stripes), whole)
