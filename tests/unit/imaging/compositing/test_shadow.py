"""The contact shadow."""

import cv2
import numpy as np
import pytest

from clearcut.imaging.compositing.shadow import contact_shadow
from tests.support.scenes import red_disc


def disc(side: int) -> np.ndarray:
    """The alpha of a disc with a soft edge, u8[side,side]."""
    y, x = np.mgrid[:side, :side]
    return (np.clip(side / 3 - np.hypot(x - side / 2, y - side / 2), 0, 1) * 255).astype(np.uint8)


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


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_shadow_peak_equals_opacity(opacity):
    _, matte = red_disc(200, 160)
    assert abs(int(contact_shadow(matte.alpha, opacity).max()) - round(255 * opacity)) <= 1
