"""Backdrops and shadows behind the subject."""

import numpy as np
import pytest

from clearcut.errors import InvalidInput
from clearcut.imaging.options import RemoveOptions
from tests.support.scenes import BLUE, RED, composed, red_disc


def test_blur_backdrop_keeps_subject_sharp():
    pixels = composed(RemoveOptions(backdrop="blur"))
    image, matte = red_disc()
    assert (pixels[..., 3] == 255).all()
    assert (pixels[..., :3][matte.alpha == 255] == image.rgb[matte.alpha == 255]).all()


def test_image_backdrop_covers_canvas_centered():
    stripes = np.zeros((50, 200, 3), np.uint8)
    stripes[:, 90:110] = (0, 255, 0)
    pixels = composed(RemoveOptions(backdrop="image", channels="rgb"), stripes)
    assert pixels.shape == (80, 120, 3)
    assert tuple(pixels[1, 60]) == (0, 255, 0)
    assert tuple(pixels[1, 2]) == (0, 0, 0)
    assert tuple(pixels[40, 60]) == RED


def test_image_backdrop_without_image_is_refused():
    with pytest.raises(InvalidInput) as caught:
        composed(RemoveOptions(backdrop="image"))
    assert caught.value.role == "background"


def test_overlay_tints_only_the_subject():
    pixels = composed(RemoveOptions(backdrop="overlay", channels="rgb"))
    assert tuple(pixels[1, 1]) == BLUE
    assert tuple(pixels[40, 60]) != RED


def test_shadow_darkens_background_only():
    plain = composed(RemoveOptions(channels="rgb"), width=200, height=160)
    dark = composed(RemoveOptions(channels="rgb", shadow=0.6), width=200, height=160)
    _, matte = red_disc(200, 160)
    assert (dark[matte.alpha == 255] == plain[matte.alpha == 255]).all()
    below = dark[matte.box.bottom + 1, 100]
    assert below.max() < 250
    assert dark[2, 2].min() == 255


def test_shadow_on_transparency_is_translucent_black():
    pixels = composed(RemoveOptions(shadow=0.6), width=200, height=160)
    _, matte = red_disc(200, 160)
    spot = pixels[matte.box.bottom + 1, 100]
    assert 0 < spot[3] < 255
    assert spot[:3].max() <= 30
