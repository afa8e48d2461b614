"""Tests of ``imaging.matting.second_pass``."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from clearcut.imaging.matting.refine import refine
from clearcut.imaging.matting.second_pass import crop, join_mattes, second_pass_region
from clearcut.imaging.types import Box, DecodedImage, RawMatte

SIDE = 96


def image(width: int = 800, height: int = 600) -> DecodedImage:
    return DecodedImage(np.zeros((height, width, 3), np.uint8))


def matte(*boxes: tuple[int, int, int, int], side: int = SIDE) -> RawMatte:
    """A matte with value 1 in each box (left, top, right, bottom)."""
    values = np.zeros((side, side), np.float32)
    for left, top, right, bottom in boxes:
        values[top:bottom, left:right] = 1
    return RawMatte(values)


def ellipse(width: int, height: int) -> np.ndarray:
    """A true matte f32[height,width]: an ellipse left of the middle."""
    canvas = np.zeros((height, width), np.uint8)
    center = int(width * 0.4), int(height * 0.55)
    cv2.ellipse(canvas, center, (width // 9, height // 6), 20, 0, 360, 255, -1, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255


def run(true: np.ndarray, side: int = SIDE) -> RawMatte:
    """A network that is right: the true matte, reduced to its square."""
    return RawMatte(cv2.resize(true, (side, side), interpolation=cv2.INTER_AREA))


def test_region_has_margin_around_small_subject() -> None:
    region = second_pass_region(matte((40, 30, 60, 50)), image(960, 960), 0.7)
    assert region == Box(left=300, top=200, width=400, height=400)  # 10 cells of 20 pixels, with 2.5 + 2 on each side


def test_region_stays_inside_frame() -> None:
    region = second_pass_region(matte((0, 70, 30, 96)), image(801, 601), 0.7)
    assert region is not None
    assert (region.left, region.bottom) == (0, 601)
    assert region.right <= 801
    assert region.top > 0


@pytest.mark.parametrize("share", [0.5, 0.69])
def test_large_subject_has_no_second_pass(share: float) -> None:
    edge = round(SIDE * share**0.5)
    assert second_pass_region(matte((10, 10, 10 + edge, 10 + edge)), image(), 0.7) is None


def product(width: int = 800, height: int = 600, level: int = 230) -> DecodedImage:
    """A dark subject of 60 x 40 pixels at (500, 300) on a plain background."""
    pixels = np.full((height, width, 3), level, np.uint8)
    pixels[300:340, 500:560] = (60, 40, 30)
    return DecodedImage(pixels)


def test_colors_show_a_subject_that_the_network_missed() -> None:
    region = second_pass_region(matte(), product(), 0.7)
    assert region is not None
    assert 460 <= region.left < 490
    assert 570 < region.right <= 600
    assert 260 <= region.top < 290
    assert 350 < region.bottom <= 380


@pytest.mark.parametrize("kind", ["empty", "texture", "transparent", "large", "not allowed"])
def test_missed_subject_without_region(kind: str) -> None:
    shown, share = product(), 0.7
    if kind == "empty":
        shown = DecodedImage(np.full((600, 800, 3), 230, np.uint8))
    elif kind == "texture":
        shown = DecodedImage(np.random.default_rng(1).integers(0, 256, (600, 800, 3), dtype=np.uint8))
    elif kind == "transparent":
        shown = DecodedImage(shown.rgb, np.full((600, 800), 255, np.uint8))
    elif kind == "large":
        shown.rgb[100:500, 100:700] = (60, 40, 30)
    else:
        share = 0.01
    assert second_pass_region(matte(), shown, share) is None


@pytest.mark.parametrize("size", [1, 3, 10])
def test_dust_on_an_empty_wall_has_no_region(size: int) -> None:
    shown = DecodedImage(np.full((900, 1200, 3), 230, np.uint8))
    shown.rgb[300 : 300 + size, 500 : 500 + size] = 30
    assert second_pass_region(matte(), shown, 0.7) is None


def test_region_by_color_can_be_switched_off() -> None:
    assert second_pass_region(matte(), product(), 0.7, by_color=False) is None


def test_second_matte_replaces_an_empty_first_one() -> None:
    region = second_pass_region(matte(), product(), 0.7)
    assert region is not None
    second = run((crop(product(), region).rgb[..., 0] < 128).astype(np.float32))
    joined = join_mattes(matte(), second, region, product())
    alpha = refine(joined, product()).alpha
    assert alpha[303:337, 503:557].min() > 240
    assert alpha[:290].max() == 0


def test_empty_matte_has_no_second_pass() -> None:
    assert second_pass_region(matte(), image(), 0.7) is None
    assert second_pass_region(RawMatte(np.full((SIDE, SIDE), 0.4, np.float32)), image(), 0.7) is None


def test_tiny_image_has_no_second_pass() -> None:
    assert second_pass_region(matte((40, 40, 56, 56)), image(20, 20), 0.7) is None


def test_specks_do_not_widen_the_region() -> None:
    alone = second_pass_region(matte((40, 30, 60, 50)), image(), 0.7)
    with_speck = second_pass_region(matte((40, 30, 60, 50), (2, 2, 4, 4)), image(), 0.7)
    second_object = second_pass_region(matte((40, 30, 60, 50), (2, 2, 10, 10)), image(), 0.9)
    assert alone == with_speck
    assert second_object is not None
    assert alone is not None
    assert second_object.left < alone.left


def test_crop_shows_the_region() -> None:
    rgb = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)
    part = crop(DecodedImage(rgb, rgb[..., 0]), Box(10, 20, 30, 25))
    assert np.array_equal(part.rgb, rgb[20:45, 10:40])
    assert part.alpha is not None
    assert np.array_equal(part.alpha, rgb[20:45, 10:40, 0])


@pytest.mark.parametrize(("width", "height"), [(1200, 900), (701, 1203), (333, 250)])
def test_joined_matte_is_finer_and_in_place(width: int, height: int) -> None:
    true, whole_image = ellipse(width, height), image(width, height)
    first = run(true)
    region = second_pass_region(first, whole_image, 0.7)
    assert region is not None
    second = run(np.ascontiguousarray(true[region.top : region.bottom, region.left : region.right]))
    joined = join_mattes(first, second, region, whole_image)
    assert joined is not first

    def error(raw: RawMatte) -> float:
        return float(np.abs(cv2.resize(raw.values, (width, height), interpolation=cv2.INTER_LINEAR) - true).mean())

    assert error(joined) < 0.7 * error(first)
    # A shift by half a value would move the center of mass.
    rows, columns = np.indices(joined.values.shape) + 0.5
    mass = joined.values.sum()
    x = (columns * joined.values).sum() / mass * width / joined.values.shape[1]
    y = (rows * joined.values).sum() / mass * height / joined.values.shape[0]
    true_rows, true_columns = np.indices(true.shape) + 0.5
    assert x == pytest.approx((true_columns * true).sum() / true.sum(), abs=0.1 * width / SIDE)
    assert y == pytest.approx((true_rows * true).sum() / true.sum(), abs=0.1 * height / SIDE)


def full_region(value: float = 1.0) -> RawMatte:
    """The second matte of a square that fills two thirds of the region."""
    values = np.zeros((SIDE, SIDE), np.float32)
    values[24:72, 24:72] = value
    return RawMatte(values)


def test_pieces_outside_the_region_stay() -> None:
    first = matte((40, 30, 60, 50), (2, 2, 4, 4))
    region = second_pass_region(first, image(), 0.7)
    assert region is not None
    joined = join_mattes(first, full_region(), region, image())
    assert joined is not first
    assert joined.values[: len(joined.values) // 20].max() == 1


@pytest.mark.parametrize("row", [60, 61])
def test_thin_pieces_are_found_in_every_row(row: int) -> None:
    region = second_pass_region(matte((40, 30, 60, 50), (60, row - 30, 90, row - 29)), image(960, 960), 0.9)
    assert region is not None
    assert region.right > 900


@pytest.mark.parametrize("shift", range(4))
def test_large_reduction_keeps_the_mean_of_thin_gaps(shift: int) -> None:
    first = RawMatte(np.ones((SIDE, SIDE), np.float32))
    values = np.ones((SIDE, SIDE), np.float32)
    values[:, 40 + shift : 42 + shift] = 0
    whole_image, region = image(60_000, 6_000), Box(28_000, 2_800, 1_200, 200)
    joined = join_mattes(first, RawMatte(values), region, whole_image)
    assert joined is not first
    rows = joined.values[joined.values.shape[0] * 2_900 // 6_000]
    inside = rows[round(28_000 * len(rows) / 60_000) : round(29_200 * len(rows) / 60_000)]
    assert inside.mean() == pytest.approx(values.mean(), abs=0.04)
    assert 0.3 < inside.min() < 0.98


def test_no_step_at_the_border_of_the_region() -> None:
    first = RawMatte(np.full((SIDE, SIDE), 0.4, np.float32))
    first.values[36:60, 36:60] = 1
    region = second_pass_region(first, image(960, 960), 0.7)
    assert region is not None
    second = np.full((SIDE, SIDE), 0.49, np.float32)
    second[22:74, 22:74] = 0.9
    joined = join_mattes(first, RawMatte(second), region, image(960, 960))
    assert joined is not first
    border = region.left * len(joined.values) // 960
    assert np.abs(np.diff(joined.values[len(joined.values) // 2][border - 8 : border + 8])).max() < 0.05
    assert joined.values[len(joined.values) // 2, len(joined.values) // 2] == pytest.approx(0.9)


def test_other_subject_in_second_pass_is_ignored() -> None:
    first = matte((40, 30, 60, 50))
    region = second_pass_region(first, image(), 0.7)
    assert region is not None
    assert join_mattes(first, matte((0, 0, 20, 20)), region, image()) is first
    assert join_mattes(first, matte(), region, image()) is first


def test_joined_matte_has_at_most_1024_values() -> None:
    first = matte((47, 46, 50, 49), side=SIDE)
    region = Box(3900, 3900, 200, 200)
    joined = join_mattes(first, RawMatte(np.ones((SIDE, SIDE), np.float32)), region, image(8000, 8000))
    assert max(joined.values.shape) <= 1024


def test_small_image_gets_no_more_values_than_one_run() -> None:
    first = matte((40, 40, 50, 50))
    region = second_pass_region(first, image(90, 80), 0.7)
    assert region is not None
    joined = join_mattes(first, run(np.ones((20, 20), np.float32)), region, image(90, 80))
    assert joined.values.shape == (SIDE, SIDE)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 4000), (4000, 17), (33, 35), (96, 97), (1, 1), (2, 900)])
def test_odd_sizes(width: int, height: int) -> None:
    whole_image = DecodedImage(np.full((height, width, 3), 9, np.uint8))
    for box in ((0, 0, 20, 96), (90, 90, 96, 96), (30, 1, 66, 95), (50, 50, 51, 51)):
        first = matte(box)
        found = second_pass_region(first, whole_image, 0.9)
        if found is None:
            continue
        assert 0 <= found.left < found.right <= width
        assert 0 <= found.top < found.bottom <= height
        joined = join_mattes(first, RawMatte(np.full((SIDE, SIDE), 0.9, np.float32)), found, whole_image)
        refined = refine(joined, whole_image)
        assert refined.alpha.shape == (height, width)
