"""Foreground colors: the old background is removed from soft edges, all other pixels are bit-equal."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearcut.imaging.matting import foreground as foreground_
from clearcut.imaging.matting.foreground import estimate_foreground

SUBJECT, BACKGROUND = np.float32([30, 160, 60]), np.float32([240, 240, 250])


def disc(height: int, width: int, softness: float) -> np.ndarray:
    """u8[H,W]: the alpha of a disc with a soft edge."""
    y, x = np.ogrid[:height, :width]
    reach = np.hypot((x - width / 2).astype(np.float32), (y - height / 2).astype(np.float32))
    share = np.clip((np.float32(min(height, width) / 3) - reach) / np.float32(softness) + np.float32(0.5), 0, 1)
    return (share * 255 + 0.5).astype(np.uint8)


def composite(height: int, width: int, softness: float) -> tuple[np.ndarray, np.ndarray]:
    alpha = disc(height, width, softness)
    share = (alpha / np.float32(255))[..., None]
    return (share * SUBJECT + (1 - share) * BACKGROUND + np.float32(0.5)).astype(np.uint8), alpha


@pytest.mark.parametrize(("softness", "left"), [(2, 0.05), (5, 0.25), (12, 0.35)])
@pytest.mark.parametrize(("height", "width"), [(200, 260), (901, 1300), (2000, 3000)])
def test_background_color_is_removed(softness: float, left: float, height: int, width: int) -> None:
    softness *= max(1, width / 640)
    rgb, alpha = composite(height, width, softness)
    found = estimate_foreground(rgb, alpha)
    soft = (alpha > 12) & (alpha < 255)
    before = np.abs(rgb[soft].astype(int) - SUBJECT).mean()
    after = np.abs(found[soft].astype(int) - SUBJECT).mean()
    assert after < left * before


def test_opaque_and_empty_pixels_are_unchanged() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (300, 410, 3), dtype=np.uint8)
    alpha = disc(300, 410, 9)
    found = estimate_foreground(rgb, alpha)
    sure = (alpha == 0) | (alpha == 255)
    assert (found[sure] == rgb[sure]).all()
    assert found is not rgb


def test_negative_colors_become_black() -> None:
    alpha = disc(400, 500, 9)
    rgb = np.repeat(255 - alpha[..., None], 3, axis=2)  # a black subject before white
    strands = (alpha > 60) & (alpha < 200) & (np.indices(alpha.shape).sum(0) % 7 == 0)
    rgb[strands] = 0
    assert strands.sum() > 300
    assert int(estimate_foreground(rgb, alpha)[strands].max()) <= 1


@pytest.mark.parametrize("size", [(190, 210), (700, 900), (1500, 1130), (2300, 3100)])
def test_distant_pixels_have_no_effect(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    alpha = np.zeros(size, np.uint8)
    for _ in range(3):
        y, x = (int(rng.integers(side // 3, 2 * side // 3)) for side in size)
        alpha[y : y + 31, x : x + 45] = rng.integers(0, 256, alpha[y : y + 31, x : x + 45].shape)
    found = estimate_foreground(rgb, alpha)
    monkeypatch.setattr(foreground_, "_HALO", 10_000)
    np.testing.assert_array_equal(found, estimate_foreground(rgb, alpha))


def whiskers(height: int, width: int) -> np.ndarray:
    """A body with hairs of one pixel."""
    alpha = disc(height, width, 3)
    for turn in np.linspace(0, 6.2, 40):
        x, y = (int(way * max(height, width)) for way in (np.cos(turn), np.sin(turn)))
        cv2.line(alpha, (width // 2, height // 2), (width // 2 + x, height // 2 + y), 128, 1, cv2.LINE_AA)
    return alpha


def specks(height: int, width: int) -> np.ndarray:
    """A body with hairs and pinholes of one pixel."""
    rng = np.random.default_rng(1)
    alpha = disc(height, width, 3)
    places = rng.random((height, width))
    alpha[places < 0.0005] = 90
    alpha[places > 0.9995] = 200
    return alpha


def saved(height: int, width: int) -> np.ndarray:
    """A mask that was saved as JPEG."""
    data = cv2.imencode(".jpg", whiskers(height, width), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("mask", [whiskers, specks, saved])
@pytest.mark.parametrize(("height", "width"), [(200, 260), (600, 800), (1100, 1440), (1700, 1500), (3000, 4000)])
def test_pure_colors_are_unchanged(mask, height: int, width: int) -> None:
    rgb = np.full((height, width, 3), (200, 180, 160), np.uint8)
    found = estimate_foreground(rgb, mask(height, width))
    assert int(cv2.absdiff(found, rgb).max()) <= 1


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 80), width=st.integers(1, 80), seed=st.integers(0, 999))
def test_any_alpha(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (height, width), dtype=np.uint8)
    found = estimate_foreground(rgb, alpha)
    assert found.shape == rgb.shape
    assert (found[alpha == 255] == rgb[alpha == 255]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (16384, 2), (2, 16384), (3, 3)])
@pytest.mark.parametrize("level", [1, 128, 254])
def test_entirely_soft_matte(shape: tuple[int, int], level: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert estimate_foreground(rgb, np.full(shape, level, np.uint8)).shape == rgb.shape


@pytest.mark.parametrize(("down", "across"), [(36, 52), (38, 54), (2, 0), (36, 2)])
@pytest.mark.parametrize("shape", [(400, 500), (402, 494)])
def test_tiles_leave_no_seams(shape: tuple[int, int], down: int, across: int) -> None:
    """An image shifted by cells of two pixels, but not by whole strips, gets equal colors."""
    rgb, alpha = composite(*shape, 8)
    rgb = cv2.add(rgb, np.random.default_rng(2).integers(0, 12, rgb.shape, dtype=np.uint8))
    wide = cv2.copyMakeBorder(rgb, down, 0, across, 0, cv2.BORDER_REPLICATE)
    wide_alpha = cv2.copyMakeBorder(alpha, down, 0, across, 0, cv2.BORDER_CONSTANT, value=0)
    original, shifted = estimate_foreground(rgb, alpha), estimate_foreground(wide, wide_alpha)[down:, across:]
    core = (slice(60, -60), slice(60, -60))
    assert int(cv2.absdiff(original[core], np.ascontiguousarray(shifted[core])).max()) <= 1
