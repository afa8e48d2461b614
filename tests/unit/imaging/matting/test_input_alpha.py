"""Which transparent images are cut-outs already, and the matte made from their alpha."""

from __future__ import annotations

import numpy as np
import pytest

from clearcut.imaging.matting.input_alpha import is_cutout, matte_of_alpha
from clearcut.imaging.types import DecodedImage
from tests.support import transparent_images as images

CUTOUTS = {
    "soft ellipse": images.cutout(),
    "small image": images.cutout("chelsea", 48, 32),
    "large image": images.cutout("rocket", 1600, 1200, soft=2),
    "anti-aliased edge": images.cutout("coffee", soft=1),
    "collage with text": images.collage(),
    "collage without anti-aliasing": images.collage(hard=True),
    "wide collage": images.collage(1200, 300, "Two words"),
    "window with a shadow": images.screenshot(margin=60, shadow=12),
}
OTHERS = {
    "opaque": np.full((40, 60, 4), 255, np.uint8),
    "round corners": images.screenshot(),
    "large round corners": images.screenshot(radius=60),
    "round corners and a margin": images.screenshot(margin=40),
    "large window with a margin": images.screenshot(1600, 1000, radius=24, margin=100),
    "hard logo": images.logo(),
    "empty": np.zeros((40, 60, 4), np.uint8),
    "translucent": np.full((40, 60, 4), 128, np.uint8),
    "transparent hole": np.dstack([np.zeros((60, 60, 3), np.uint8), 255 - images.cutout(width=60, height=60)[:, :, 3]]),
    "1 x 1": np.zeros((1, 1, 4), np.uint8),
}


@pytest.mark.parametrize("name", CUTOUTS)
def test_cutouts_are_recognized(name: str) -> None:
    assert is_cutout(np.ascontiguousarray(CUTOUTS[name][:, :, 3]))


@pytest.mark.parametrize("name", OTHERS)
def test_other_transparent_images_are_no_cutouts(name: str) -> None:
    assert not is_cutout(np.ascontiguousarray(OTHERS[name][:, :, 3]))


def test_thresholds_of_area_and_border() -> None:
    alpha = np.full((100, 100), 255, np.uint8)
    alpha[:, :10] = 0
    alpha[20:40, 50:60] = alpha[60:80, 50:60] = 0
    assert not is_cutout(alpha)  # the border is transparent for 30 %
    alpha[:10] = alpha[-10:] = 0
    alpha[:, 45:50] = 0
    assert is_cutout(alpha)  # two parts
    alpha[:, 45:50] = 255
    assert not is_cutout(alpha)  # one part with hard edges
    alpha[10:-10, 10] = 128
    alpha[10, 10:] = alpha[-11, 10:] = 100
    assert is_cutout(alpha)


def test_specks_are_no_parts() -> None:
    alpha = images.logo(1000)[:, :, 3].copy()
    alpha[10, 10] = alpha[990, 500] = 255
    assert not is_cutout(alpha)


def test_matte_equals_alpha_and_colors_stay() -> None:
    pixels = images.cutout()
    image = DecodedImage(np.ascontiguousarray(pixels[:, :, :3]), np.ascontiguousarray(pixels[:, :, 3]))
    assert image.alpha is not None
    matte = matte_of_alpha(image, image.alpha)
    np.testing.assert_array_equal(matte.alpha, image.alpha)
    np.testing.assert_array_equal(matte.foreground, image.rgb)
    assert matte.confidence == 1
    assert matte.plain_background
    rows, columns = np.nonzero(image.alpha >= 10)
    assert matte.box is not None
    assert (matte.box.left, matte.box.top) == (columns.min(), rows.min())
    assert (matte.box.right, matte.box.bottom) == (columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize(("transparent", "expected"), [(0, False), (49, False), (50, True), (100, True)])
def test_half_of_border_makes_transparent_background(transparent: int, expected: bool) -> None:
    """The border has 100 pixels."""
    border = np.where(np.arange(100) < transparent, 0, 255).astype(np.uint8)
    alpha = np.full((26, 26), 255, np.uint8)
    alpha[0], alpha[1:, -1], alpha[-1, :-1], alpha[1:-1, 0] = np.split(border, (26, 51, 76))
    matte = matte_of_alpha(DecodedImage(np.zeros((26, 26, 3), np.uint8), alpha), alpha)
    assert (matte.plain_background, matte.confidence) == (expected, 1)


def test_empty_alpha_has_no_subject() -> None:
    image = DecodedImage(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))
    assert image.alpha is not None
    matte = matte_of_alpha(image, image.alpha)
    assert (matte.box, matte.confidence) == (None, 0.0)
