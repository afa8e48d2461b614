"""A matte from the caller: unchanged at equal size, else resized; never faded."""

import cv2
import numpy as np
import pytest

from clearcut.imaging.compose import compose
from clearcut.imaging.matting.user_mask import user_matte
from clearcut.imaging.options import RemoveOptions
from clearcut.imaging.types import DecodedImage


def scene(height=90, width=120):
    y, x = np.mgrid[:height, :width]
    alpha = (np.clip((30 - np.hypot(x - width / 2, y - height / 2)) / 8 + 0.5, 0, 1) * 255).astype(np.uint8)
    rgb = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return DecodedImage(rgb), alpha


def gray(level):
    return DecodedImage(np.repeat(level[..., None], 3, axis=2))


def test_mask_of_image_size_is_unchanged():
    image, alpha = scene()
    matte = user_matte(gray(alpha), image)
    assert (matte.alpha == alpha).all()
    assert (matte.foreground[alpha == 255] == image.rgb[alpha == 255]).all()
    assert matte.confidence > 0.5


def test_mask_alpha_overrides_brightness():
    image, alpha = scene()
    mask = DecodedImage(np.zeros_like(image.rgb), alpha)
    assert (user_matte(mask, image).alpha == alpha).all()


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0])
def test_mask_of_other_size_is_resized(scale):
    _, alpha = scene()
    other = cv2.resize(alpha, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    matte = user_matte(gray(other), DecodedImage(cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2RGB)))
    assert matte.alpha.shape == alpha.shape
    assert (matte.alpha[alpha == 255] > 200).mean() > 0.95
    assert (matte.alpha[cv2.dilate(alpha, np.ones((25, 25))) == 0] == 0).all()


@pytest.mark.parametrize("scale", [0.9, 0.6])
def test_slightly_smaller_mask_keeps_detail(scale):
    """Lines of three pixels on noise; the cells of the grid are nine pixels wide."""
    alpha = np.zeros((1500, 2000), np.uint8)
    for x in range(300, 1700, 40):
        cv2.line(alpha, (x, 200), (x + 90, 1300), 255, 3, cv2.LINE_AA)
    small = cv2.resize(alpha, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rgb = np.random.default_rng(5).integers(0, 256, (*alpha.shape, 3), dtype=np.uint8)
    off = cv2.absdiff(user_matte(gray(small), DecodedImage(rgb)).alpha, alpha)
    linear = cv2.absdiff(cv2.resize(small, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR), alpha)
    assert off.sum() < 0.8 * linear.sum()


@pytest.mark.parametrize("level", [20, 40, 200])
@pytest.mark.parametrize("side", [400, 1100])
def test_translucent_mask_stays_translucent(side, level):
    rgb = np.random.default_rng(6).integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)
    mask = gray(np.full((side * 27 // 40, side * 9 // 10), level, np.uint8))
    assert (user_matte(mask, DecodedImage(rgb)).alpha == level).all()


@pytest.mark.parametrize(("across", "down"), [(3.0, 0.9), (0.7, 4.0), (1.0, 0.5)])
def test_mask_larger_in_one_direction(across, down):
    image, alpha = scene(600, 800)
    tall = cv2.resize(alpha, None, fx=max(across, 1), fy=max(down, 1), interpolation=cv2.INTER_CUBIC)
    other = cv2.resize(tall, (int(800 * across), int(600 * down)), interpolation=cv2.INTER_AREA)
    off = cv2.absdiff(user_matte(gray(other), image).alpha, alpha)
    assert off.mean() < 0.1


def test_empty_mask_has_no_subject():
    image, alpha = scene()
    matte = user_matte(gray(np.zeros_like(alpha)), image)
    assert matte.box is None
    assert matte.confidence == 0
    assert not matte.alpha.any()


def test_reprocessing_with_own_alpha_changes_nothing():
    image, alpha = scene()
    first = compose(image, user_matte(gray(alpha), image), RemoveOptions()).pixels
    again = DecodedImage(np.ascontiguousarray(first[..., :3]), np.ascontiguousarray(first[..., 3]))
    second = compose(again, user_matte(gray(first[..., 3]), again), RemoveOptions()).pixels
    assert (second == first).all()
