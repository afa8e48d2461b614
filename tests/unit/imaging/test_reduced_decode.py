"""Reduced decoding: which images allow it, and equal output sizes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from clearcut.imaging.decode import decode
from clearcut.imaging.layout import plan_layout
from clearcut.imaging.options import Length, Padding, RemoveOptions, Roi
from clearcut.imaging.probe import probe
from clearcut.imaging.reduced_decode import decode_reduction, pin_output_size, scale_box_up
from clearcut.imaging.types import Box, ImageHeader, ProbeLimits
from tests.support import samples

LARGE = ImageHeader("jpeg", 4001, 2999)
HALF = Length(0.5, relative=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([RemoveOptions(max_pixels=250_000)], 4),
        ([RemoveOptions(max_side=320)], 8),
        ([RemoveOptions(max_side=1500)], 2),
        ([RemoveOptions(max_side=2500)], 1),
        ([RemoveOptions(max_side=320), RemoveOptions(max_side=1500)], 2),
        ([RemoveOptions(max_side=320), RemoveOptions()], 1),
        ([RemoveOptions()], 1),
        ([RemoveOptions(max_side=320, crop=True)], 1),
        ([RemoveOptions(max_side=320, width=300)], 1),
        ([RemoveOptions(max_side=320, scale=0.5)], 1),
        ([RemoveOptions(max_side=320, position=(0.5, 0.5))], 1),
        ([RemoveOptions(max_side=320, roi=Roi(HALF, HALF, HALF, HALF))], 1),
        ([RemoveOptions(max_side=320, padding=Padding(HALF, HALF, HALF, HALF))], 8),  # means nothing without a crop
    ],
)
def test_only_small_outputs_reduce_decoding(options: list[RemoveOptions], expected: int) -> None:
    assert decode_reduction(LARGE, options, side=320) == expected


def test_reduction_keeps_model_input_size() -> None:
    assert decode_reduction(LARGE, [RemoveOptions(max_side=100)], side=1024) == 2


def test_png_is_not_reduced() -> None:
    assert decode_reduction(ImageHeader("png", 4001, 2999), [RemoveOptions(max_side=320)], side=320) == 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("caps", [{"max_side": 333}, {"max_pixels": 250_000}, {"max_side": 777, "max_pixels": 99_999}])
def test_reduced_output_has_exact_size(orientation: int, caps: dict[str, int]) -> None:
    header = ImageHeader("jpeg", 4001, 2999, orientation)
    options = RemoveOptions(**caps)
    by = decode_reduction(header, [options], side=64)
    assert by > 1
    width, height = header.upright_size
    whole, reduced = (
        plan_layout(width, height, None, options),
        plan_layout(-(-width // by), -(-height // by), None, pin_output_size(options, header)),
    )
    assert (reduced.width, reduced.height) == (whole.width, whole.height)
    assert reduced.fills


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_image_matches_area_mean(by: int, orientation: int) -> None:
    pixels = samples.photo("coffee", 608, 400)
    data = samples.jpeg(samples.as_stored(pixels, orientation), orientation=orientation)
    header = probe(data, ProbeLimits())
    whole, small = decode(data, header).rgb, decode(data, header, by).rgb
    assert small.shape[:2] == (400 // by, 608 // by)
    expected = cv2.resize(whole, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    assert cv2.absdiff(small, expected).mean() < 5


def test_cmyk_and_profiles_are_reduced() -> None:
    inks = np.full((80, 120, 4), 255, np.uint8)
    for data in (samples.jpeg_cmyk(inks), samples.jpeg(inks[..., :3], icc_profile=samples.icc_rgb())):
        header = probe(data, ProbeLimits())
        whole, small = decode(data, header).rgb, decode(data, header, 4).rgb
        assert small.shape == (20, 30, 3)
        assert np.abs(small.astype(int) - whole[0, 0]).max() <= 2


def test_boxes_are_in_full_image_pixels() -> None:
    header = ImageHeader("jpeg", 101, 50)  # 26 x 13 at a quarter
    assert scale_box_up(Box(3, 2, 10, 5), 4, header) == Box(12, 8, 40, 20)
    assert scale_box_up(Box(20, 10, 6, 3), 4, header) == Box(80, 40, 21, 10)
    assert scale_box_up(None, 4, header) is None
