"""Inpainting of unknown pixels."""

import numpy as np

from clearcut.imaging.compositing.inpaint import extend


def test_extend_keeps_known_pixels():
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, :32] = (200, 10, 10)
    rgb[:, 32:] = (10, 10, 200)
    known = np.full((64, 64), 255, np.uint8)
    known[16:48, 8:56] = 0
    rgb_holed = rgb.copy()
    rgb_holed[known == 0] = (0, 255, 0)
    out = extend(rgb_holed, known)
    assert (out[known > 0] == rgb[known > 0]).all()
    assert out[..., 1].max() <= 11  # the hidden color has no effect
    assert out[32, 10, 0] > out[32, 54, 0] + 100


def test_extend_without_known_pixels_is_white():
    assert (extend(np.zeros((5, 7, 3), np.uint8), np.zeros((5, 7), np.uint8)) == 255).all()
