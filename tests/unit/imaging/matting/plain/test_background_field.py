"""The field of colors along the border of an image."""

import numpy as np
import pytest

from clearcut.imaging.matting.edge_band import Span
from clearcut.imaging.matting.plain.background_field import ColorField, border_field


def test_field_follows_vignette() -> None:
    y, x = np.mgrid[-1:1:200j, -1:1:300j]
    rgb = (200 - 25 * (x**2 + y**2))[..., None] + np.array([0, -10, -30])
    noise = np.random.default_rng(0).normal(0, 1.5, rgb.shape)
    field = border_field(np.clip(rgb + noise, 0, 255).astype(np.uint8))
    assert field is not None
    assert field.share > 0.95
    assert np.abs(field.at(200, 300) - rgb).max() < 4


@pytest.mark.parametrize("every", [1, 3])
def test_coefficients_belong_to_their_powers(every: int) -> None:
    height, width = 40, 61
    y, x = ((2 * np.arange(side) + 1) / side - 1 for side in (height, width))
    y, x = y[: height // every * every : every, None], x[: width // every * every : every]
    coefficients = np.array([[120, 90, 60], [9, -4, 2], [-3, 8, 1], [5, 0, -7], [2, 6, -1], [-6, 3, 4]], np.float64)
    powers = np.stack(np.broadcast_arrays(1.0, x, y, x * x, x * y, y * y), axis=-1)
    colors = ColorField(coefficients, 1.0, 1.0).at(height, width, every)
    assert colors.dtype == np.float32
    np.testing.assert_allclose(colors, powers @ coefficients, atol=1e-4)


def test_field_within_area_has_same_colors() -> None:
    coefficients = np.array([[120, 90, 60], [9, -4, 2], [-3, 8, 1], [5, 0, -7], [2, 6, -1], [-6, 3, 4]], np.float64)
    field, area = ColorField(coefficients, 1.0, 1.0), Span(7, 31, 20, 57)
    inside = field.within(area, 40, 61).at(24, 37)
    np.testing.assert_allclose(inside, field.at(40, 61)[area.area], atol=1e-4)
