"""The compiled functions for soft edges compute the same pixels as the tiles in OpenCV, within one level."""

from __future__ import annotations

import numpy as np
import pytest

from clearcut.imaging.matting import foreground, guided_filter
from clearcut.imaging.matting.compiled_pixels import load_compiled_pixels
from clearcut.imaging.matting.edge_band import Span
from tests.support import samples

pytestmark = pytest.mark.skipif(
    load_compiled_pixels() is None, reason="edge_pixels.c is not compiled: make setup needs a C compiler"
)
SIZES = [(1, 40), (40, 1), (40, 57), (211, 190), (641, 900), (1103, 811), (90, 6001)]


def photo_and_alpha(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return samples.photo("astronaut", width, height), samples.disc(height, width, soft=max(height, width) / 12)


def differences(found: np.ndarray, expected: np.ndarray) -> tuple[int, float]:
    """Return the largest difference and the share of pixels that differ."""
    distance = np.abs(found.astype(int) - expected)
    return int(distance.max()), float((distance > 0).mean())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_alpha_equals_fallback(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, _ = photo_and_alpha(height, width)
    raw = samples.disc(320, 320, soft=40).astype(np.float32) / 255
    found = guided_filter.upsample(raw, rgb)
    monkeypatch.setattr(guided_filter, "_compiled_pixels", None)
    monkeypatch.setattr(guided_filter, "_compiled_cells", None)
    expected = guided_filter.upsample(raw, rgb)
    assert ((expected > 0) & (expected < 255)).mean() > 0.02
    largest, share = differences(found, expected)
    assert largest <= 1
    assert share < 1e-3


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_colors_equal_fallback(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, alpha = photo_and_alpha(height, width)
    found = foreground.estimate_foreground(rgb, alpha)
    sure = (alpha == 0) | (alpha == 255)
    assert (found[sure] == rgb[sure]).all()
    monkeypatch.setattr(foreground, "_compiled_pixels", None)
    monkeypatch.setattr(foreground, "_compiled_cells", None)
    expected = foreground.estimate_foreground(rgb, alpha)
    assert (expected != rgb).any()
    largest, share = differences(found, expected)
    assert largest <= 1
    assert share < 1e-3


def test_image_without_packed_pixels_uses_fallback() -> None:
    rgb, alpha = photo_and_alpha(200, 260)
    wide = np.dstack([rgb, alpha])[:, :, :3]
    raw = samples.disc(320, 320, soft=40).astype(np.float32) / 255
    np.testing.assert_allclose(guided_filter.upsample(raw, wide), guided_filter.upsample(raw, rgb), atol=1)


def test_rows_outside_the_image_are_not_written() -> None:
    rgb, _ = photo_and_alpha(643, 907)
    frame = np.full((663, 927, 3), 77, np.uint8)
    frame[10:653, 10:917] = rgb
    alpha = samples.disc(643, 907, soft=90)
    inner = frame[10:653, 10:917]
    strips = foreground.foreground_strips(alpha)
    foreground.estimate_foreground_inplace(inner, alpha, strips)
    np.testing.assert_array_equal(inner, foreground.estimate_foreground(rgb, alpha))
    frame[10:653, 10:917] = 77
    assert (frame == 77).all()


@pytest.mark.parametrize("is_compiled", [True, False])
def test_read_only_pixels_are_not_changed(is_compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_compiled:
        monkeypatch.setattr(foreground, "_compiled_pixels", None)
    rgb, alpha = photo_and_alpha(200, 260)
    before = rgb.copy()
    rgb.flags.writeable = False
    with pytest.raises(ValueError, match=r"written to|read-only"):
        foreground.estimate_foreground_inplace(rgb, alpha, foreground.foreground_strips(alpha))
    np.testing.assert_array_equal(rgb, before)


def test_wrong_images_are_refused() -> None:
    pixels = load_compiled_pixels()
    assert pixels is not None
    rgb, alpha = photo_and_alpha(40, 60)
    slope, offset = np.zeros((10, 15, 3), np.float32), np.zeros((10, 15), np.float32)
    sheet, places = np.zeros((12, 17, 3), np.float32), np.array([[0, 10, 0, 15, 0, 0]])
    for image in (rgb[:30], rgb[..., :2], rgb.astype(np.float32), np.dstack([rgb, alpha])):
        with pytest.raises(ValueError, match="packed rows"):
            pixels.apply_coefficients(slope, offset, [Span(0, 10, 0, 15)], 4, image, alpha)
        with pytest.raises(ValueError, match="packed rows"):
            pixels.correct_colors(sheet, sheet, places, 4, image, alpha)
    alpha.flags.writeable = False
    with pytest.raises(ValueError, match="can be written to"):
        pixels.apply_coefficients(slope, offset, [Span(0, 10, 0, 15)], 4, rgb, alpha)
