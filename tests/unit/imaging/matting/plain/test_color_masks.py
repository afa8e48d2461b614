"""Masks of cells by their colors, on drawings of few cells."""

import cv2
import numpy as np
import pytest

from clearcut.imaging.matting.plain.color_masks import (
    faint_addition,
    largest_channel,
    shadow_like_cells,
    sharp_cells,
    thin_parts,
)

SIDE = 60


def square(start: int, end: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[start:end, start:end] = True
    return mask


@pytest.mark.parametrize(("width", "net", "is_thin"), [(3, 0.0, True), (3, 1.0, False), (12, 0.0, False)])
def test_thin_line_needs_few_cells_in_colors_and_matte(width: int, net: float, is_thin: bool) -> None:
    line = np.zeros((SIDE, SIDE), np.bool_)
    line[:, 30 : 30 + width] = True
    levels = np.where(line, 120, 0).astype(np.uint8)
    highest = cv2.dilate(levels, np.ones((7, 7), np.uint8))
    thin = thin_parts(levels, highest, 4.5, np.full(levels.shape, net, np.float32))
    assert (thin[line] == is_thin).all()
    assert not thin[:, :20].any()


def test_thin_part_of_low_contrast_is_none() -> None:
    levels = np.zeros((SIDE, SIDE), np.uint8)
    levels[:, 30:33] = 16
    assert not thin_parts(levels, levels, 4.5, np.zeros(levels.shape, np.float32)).any()


@pytest.mark.parametrize(
    ("color", "is_shadow"),
    [
        ((100, 80, 60), True),
        ((199, 159, 119), True),
        ((200, 160, 120), False),
        ((60, 48, 36), False),
        ((100, 80, 90), False),
    ],
)
def test_shadow_is_a_darker_background_of_equal_hue(color: tuple[int, int, int], is_shadow: bool) -> None:
    cells = np.full((4, 4, 3), color, np.uint8)
    background = np.full((4, 4, 3), (200, 160, 120), np.float32)
    tolerance, darkest = np.full((4, 4), 4, np.float32), np.full((4, 4), 0.4, np.float32)
    assert (shadow_like_cells(cells, background, tolerance, darkest) == is_shadow).all()


@pytest.mark.parametrize(
    ("step", "contrast", "is_sharp"), [(11, 0, True), (10, 0, False), (50, 110, True), (40, 110, False)]
)
def test_sharp_cells_are_steps_of_the_contrast(step: int, contrast: int, is_sharp: bool) -> None:
    cells = np.full((SIDE, SIDE, 3), 200, np.uint8)
    cells[:, 30:] -= np.uint8(step)
    sharp = sharp_cells(cells, np.full((SIDE, SIDE), contrast, np.uint8))
    assert (sharp[:, 29:31] == is_sharp).all()
    assert not sharp[:, :29].any()
    assert not sharp[:, 31:].any()


@pytest.mark.parametrize(
    ("size", "contrast", "is_returned"),
    [(20, 40, True), (20, 60, False), (8, 40, False)],
    ids=["large and faint", "clear", "small"],
)
def test_large_faint_addition_is_returned(size: int, contrast: float, is_returned: bool) -> None:
    found, added = square(0, 20), square(30, 30 + size)
    distance = np.where(found, np.float32(100), np.float32(contrast))
    addition = faint_addition(found | added, distance, found.astype(np.float32))
    assert np.array_equal(addition, added & is_returned)


def test_addition_without_a_found_subject_is_none() -> None:
    subject = square(10, 40)
    assert not faint_addition(subject, np.full((SIDE, SIDE), 5, np.float32), np.zeros((SIDE, SIDE), np.float32)).any()


def test_largest_channel_ignores_the_sign() -> None:
    assert largest_channel(np.float32([[[1, -7, 3], [0, 2, -1]]])).tolist() == [[7, 2]]
