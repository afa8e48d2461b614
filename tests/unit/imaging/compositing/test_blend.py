"""Blending: exact for every level of color and alpha."""

import numpy as np
import pytest

from clearcut.imaging.compositing import blend


def over(rgb: np.ndarray, alpha: np.ndarray, background: tuple[int, ...]) -> np.ndarray:
    share = alpha[:, :, None].astype(np.float64) / 255
    return np.round(rgb * share + np.array(background[:3]) * (1 - share)).astype(np.uint8)


def test_flatten_is_exact_for_all_levels() -> None:
    level, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    rgb = np.dstack([level, level, level])
    for background in ((0, 128, 255, 255), (1, 77, 254, 255)):
        np.testing.assert_array_equal(blend.flatten(rgb, alpha, background), over(rgb, alpha, background))


def test_alpha_over_is_exact_at_0_and_255():
    front = np.zeros((2, 2, 4), np.uint8)
    front[0, 0] = (10, 20, 30, 255)
    back = np.full((2, 2, 4), (200, 100, 50, 255), np.uint8)
    out = blend.alpha_over(front, back)
    assert tuple(out[0, 0]) == (10, 20, 30, 255)
    assert (out[1] == back[1]).all()
    assert not blend.alpha_over(front, np.zeros_like(back))[1].any()


@pytest.mark.parametrize("under", [0, 255])
def test_alpha_over_uniform_back_matches_formula(under):
    """Every alpha with every level over some levels; backs of one alpha are composed in integers."""
    alpha, level, behind = (each.ravel() for each in np.meshgrid(np.arange(256), np.arange(256), [0, 1, 77, 254, 255]))
    level = np.where(alpha > 0, level, 0)
    front = np.stack([level, level, level, alpha], axis=-1).astype(np.uint8)[None]
    back = np.stack([behind, behind, behind, np.full_like(behind, under)], axis=-1).astype(np.uint8)[None]
    share = alpha + (255 - alpha) * under / 255
    color = (level * alpha + behind * (255 - alpha) * (under / 255)) / np.maximum(share, 1e-6)
    expected = np.where(share > 0, (color + 0.5).astype(np.uint8), 0)
    found = blend.alpha_over(front, back)[0]
    assert (found[:, 3] == share).all()
    assert (found[:, :3] == expected[:, None]).all()


@pytest.mark.parametrize("width", range(1, 6))
@pytest.mark.parametrize("height", range(1, 6))
def test_tiny_arrays_are_handled(width: int, height: int) -> None:
    """OpenCV can confuse arrays of shapes such as 4 x 1 with scalars."""
    generator = np.random.default_rng(width * 10 + height)
    rgb = generator.integers(0, 256, (height, width, 3), np.uint8)
    alpha = generator.choice(np.array([0, 0, 60, 200, 255], np.uint8), (height, width))
    alpha[0, 0] = 0
    pixels = blend.to_rgba(rgb, alpha)
    np.testing.assert_array_equal(pixels[:, :, 3], alpha)
    np.testing.assert_array_equal(pixels[:, :, :3], np.where(alpha[:, :, None] == 0, 0, rgb))
    np.testing.assert_array_equal(blend.flatten(rgb, alpha, (9, 99, 199, 255)), over(rgb, alpha, (9, 99, 199)))
    same_rgb, same_alpha = blend.resize_masked(rgb, alpha, width, height)
    np.testing.assert_array_equal(same_alpha, alpha)
    np.testing.assert_array_equal(same_rgb, np.where(alpha[:, :, None] == 0, 0, rgb))
