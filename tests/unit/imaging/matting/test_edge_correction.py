"""Limits of the edge model: no mean correction, and none where colors explain the edge."""

import numpy as np
import pytest

from clearcut.imaging.matting.edge_correction import edge_correction

Planes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def planes(height: int, width: int) -> Planes:
    rng = np.random.default_rng(height)
    guide = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    raw = rng.random((height, width), np.float32)
    return raw * np.float32(255), guide, raw, (rng.random((height, width)) < 0.7).astype(np.uint8)


def explained(height: int, width: int, share: float) -> np.ndarray:
    return np.full((-(-height // 2), -(-width // 2)), share, np.float32)


SHAPES = [(40, 60), (41, 61), (1, 30), (30, 1), (3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_constant_correction_is_removed(shape: tuple[int, int]) -> None:
    correction = edge_correction(
        *planes(*shape), explained(*shape, 0.2), lambda _, values, __: np.full_like(values, 0.3)
    )
    assert correction.shape == shape
    assert np.abs(correction).max() < 255 * 0.3 * 1e-3


def stripes(_guide: np.ndarray, values: np.ndarray, _fitted: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.where(np.arange(values.shape[1]) % 2, 0.1, -0.1), values.shape).astype(np.float32)


def test_edge_movement_is_kept() -> None:
    level, guide, raw, _ = planes(40, 60)
    edge = np.zeros((40, 60), np.uint8)
    edge[:, 10:40] = 1
    correction = edge_correction(level, guide, raw, edge, explained(40, 60, 0.2), stripes)
    assert not correction[edge == 0].any()
    np.testing.assert_allclose(np.abs(correction[edge > 0]), 25.5, rtol=0.02)


def test_weight_falls_with_explained_variance() -> None:
    size = [
        float(np.abs(edge_correction(*planes(40, 60), explained(40, 60, share), stripes)).sum())
        for share in (0.0, 0.8, 0.85, 0.9, 0.95, 1.0)
    ]
    assert size[0] == pytest.approx(size[1], rel=1e-5)
    assert size[1] > size[2] > size[3] > 0.2 * size[1]
    assert size[4] < 1e-3 * size[1]
    assert size[5] == 0


def test_isolated_explained_blocks_are_ignored() -> None:
    """A few explained blocks among many others change nothing."""
    shares = explained(60, 60, 0.2)
    shares[14:16, 14:16] = 1
    whole = edge_correction(*planes(60, 60), explained(60, 60, 0.2), stripes)
    np.testing.assert_array_equal(edge_correction(*planes(60, 60), shares, stripes), whole)
