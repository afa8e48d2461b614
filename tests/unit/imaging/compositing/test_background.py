"""Blurred and tinted backgrounds: appearance, and bounded cost for any matte."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from clearcut.imaging.compositing import background
from clearcut.imaging.types import Matte
from tests.support.scenes import BLUE, red_disc


def disc(side: int) -> np.ndarray:
    """The alpha of a disc with a soft edge, u8[side,side]."""
    y, x = np.mgrid[:side, :side]
    return (np.clip(side / 3 - np.hypot(x - side / 2, y - side / 2), 0, 1) * 255).astype(np.uint8)


def peak_growth(work) -> int:
    """Bytes by which resident memory exceeds its level before ``work`` at most."""

    def resident(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


@pytest.mark.parametrize("pattern", ["every second pixel", "noise"])
def test_overlay_memory_is_bounded_for_any_matte(pattern):
    alpha = np.random.default_rng(1).integers(0, 256, (1400, 1400), dtype=np.uint8)
    if pattern == "every second pixel":
        alpha[:] = 0
        alpha[::2, ::2] = 255
    rgb = np.full((1400, 1400, 3), 90, np.uint8)
    assert peak_growth(lambda: background.overlay(rgb, alpha)) < 20 * alpha.size


@pytest.mark.parametrize("side", [300, 900, 1300, 2000])
def test_overlay_outline_matches_drawn_contours(side):
    rgb, alpha = np.full((side, side, 3), 90, np.uint8), disc(side)
    alpha[: side // 8] = 255  # the border of the image is outlined, too
    drawn = rgb.copy()
    subject = alpha >= 128
    drawn[subject] = cv2.addWeighted(rgb, 0.5, np.full_like(rgb, background.TINT), 0.5, 0)[subject]
    contours, _ = cv2.findContours(subject.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, background.TINT, max(1, side // 400))
    assert (background.overlay(rgb, alpha) != drawn).any(axis=2).mean() < 0.002


def test_blur_has_no_halo():
    image, matte = red_disc(300, 200)
    behind = background.blur_background(image.rgb, matte).astype(int)
    assert np.abs(behind - BLUE).max() <= 3
    naive = cv2.GaussianBlur(image.rgb, (0, 0), 15 * 300 / 1024).astype(int)
    assert np.abs(naive - BLUE)[matte.alpha == 0].max() > 20  # a blur of the image itself has a halo


def test_blur_backdrop_kernel_has_fixed_size(monkeypatch):
    original = cv2.dilate
    areas = [0]
    monkeypatch.setattr(cv2, "dilate", lambda src, kernel: areas.append(kernel.size) or original(src, kernel))
    rgb = np.full((8, 8000, 3), 90, np.uint8)
    alpha = np.zeros((8, 8000), np.uint8)
    alpha[:, 4000:4100] = 255
    blurred = background.blur_background(rgb, Matte(alpha, rgb, None, 1.0, 0.0))
    assert max(areas) <= 100
    assert (blurred == 90).all()
