"""The cost of the options that draw something: bounded for any matte, and unchanged in appearance."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from clearcut.imaging.compositing import background, blend
from clearcut.imaging.compositing.shadow import contact_shadow
from clearcut.imaging.types import Matte

MIB = 1024 * 1024


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


def test_shadow_blur_does_not_widen_with_the_image(monkeypatch):
    sigmas = []
    original = cv2.GaussianBlur
    monkeypatch.setattr(
        cv2, "GaussianBlur", lambda src, size, sigma, **more: sigmas.append(sigma) or original(src, size, sigma, **more)
    )
    for side in (100, 1000, 3000):
        contact_shadow(disc(side), 0.5)
    assert len(sigmas) == 3
    assert max(sigmas) <= 4.05


@pytest.mark.parametrize("side", [100, 640, 1500])
def test_shadow_matches_a_blur_at_full_size(side):
    alpha = disc(side)
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, 10, 255))
    low = max(1, round(height * 0.12))
    flat = np.zeros_like(alpha)
    start = top + height - low // 2 - low // 2
    flat[start : start + low, left : left + width] = cv2.resize(
        alpha[top : top + height, left : left + width], (width, low), interpolation=cv2.INTER_AREA
    )
    wide = cv2.GaussianBlur(flat.astype(np.float32), (0, 0), 0.03 * max(width, height), borderType=cv2.BORDER_CONSTANT)
    expected = wide * (128 / wide.max())
    assert np.abs(contact_shadow(alpha, 128 / 255) - expected).max() <= 5


def test_blur_backdrop_uses_no_kernel_that_grows_with_the_image(monkeypatch):
    original = cv2.dilate
    areas = [0]
    monkeypatch.setattr(cv2, "dilate", lambda src, kernel: areas.append(kernel.size) or original(src, kernel))
    rgb = np.full((8, 8000, 3), 90, np.uint8)
    alpha = np.zeros((8, 8000), np.uint8)
    alpha[:, 4000:4100] = 255
    blurred = background.blur_background(rgb, Matte(alpha, rgb, None, 1.0, 0.0))
    assert max(areas) <= 100
    assert (blurred == 90).all()


@pytest.mark.parametrize("under", [0, 255])
def test_onto_over_one_alpha_equals_the_general_formula(under):
    """Every alpha with every level over some levels; backs of one alpha are composed in integers."""
    alpha, level, behind = (each.ravel() for each in np.meshgrid(np.arange(256), np.arange(256), [0, 1, 77, 254, 255]))
    level = np.where(alpha > 0, level, 0)
    front = np.stack([level, level, level, alpha], axis=-1).astype(np.uint8)[None]
    back = np.stack([behind, behind, behind, np.full_like(behind, under)], axis=-1).astype(np.uint8)[None]
    share = alpha + (255 - alpha) * under / 255
    colour = (level * alpha + behind * (255 - alpha) * (under / 255)) / np.maximum(share, 1e-6)
    expected = np.where(share > 0, (colour + 0.5).astype(np.uint8), 0)
    found = blend.alpha_over(front, back)[0]
    assert (found[:, 3] == share).all()
    assert (found[:, :3] == expected[:, None]).all()
