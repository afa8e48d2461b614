"""refine: any size and any values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearcut.imaging.matting.confidence import certainty
from clearcut.imaging.matting.foreground import foreground_strips
from clearcut.imaging.matting.refine import finish_matte, has_subject, refine, subject_box
from clearcut.imaging.types import Box, DecodedImage, Matte, MatteOptions, RawMatte


def noise_image(height: int, width: int, seed: int = 0) -> DecodedImage:
    return DecodedImage(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def run(values: np.ndarray, image: DecodedImage, *, despill: bool = True) -> Matte:
    return refine(RawMatte(values.astype(np.float32)), image, options=MatteOptions(despill, plain_background=True))


def disc(side: int, radius: float, ramp: float = 2.0) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    middle = (side - 1) / 2
    return np.clip((radius - np.hypot(x - middle, y - middle)) / ramp + 0.5, 0, 1)


SIZES = [(1, 1), (1, 7), (7, 1), (3, 3), (1, 2000), (2000, 1), (2, 16384), (16384, 2), (97, 131), (5, 640)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("level", [0.0, 0.3, 0.6, 1.0])
def test_any_size(shape: tuple[int, int], level: float) -> None:
    matte = run(np.full((32, 32), level), noise_image(*shape))
    assert matte.alpha.shape == shape
    assert matte.foreground.shape == (*shape, 3)
    assert matte.alpha.dtype == matte.foreground.dtype == np.uint8
    assert matte.alpha.flags.c_contiguous
    assert matte.foreground.flags.c_contiguous
    assert (matte.box is None) == (level < 0.5)
    if level == 1.0:
        assert (matte.alpha == 255).all()
        assert matte.box == Box(0, 0, shape[1], shape[0])
        assert 0 < matte.confidence <= 1


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    side=st.integers(1, 48),
    seed=st.integers(0, 10_000),
    hard=st.booleans(),
)
def test_refine_of_arbitrary_values(height: int, width: int, side: int, seed: int, hard: bool) -> None:
    values = np.random.default_rng(seed).random((side, side))
    image = noise_image(height, width, seed)
    matte = run(np.round(values) if hard else values, image)
    opaque = matte.alpha == 255
    assert (matte.foreground[opaque] == image.rgb[opaque]).all()
    assert 0.0 <= matte.confidence <= 1.0
    assert 0.0 <= matte.ambiguous_ratio <= 1.0
    assert matte.box == subject_box(matte.alpha)
    if matte.box is None:
        assert not matte.alpha.any()
        assert matte.confidence == 0.0


@given(seed=st.integers(0, 1000), top=st.floats(0, 0.49))
def test_noise_is_not_a_subject(seed: int, top: float) -> None:
    matte = run(np.random.default_rng(seed).random((40, 40)) * top, noise_image(33, 50))
    assert not matte.alpha.any()
    assert matte.box is None
    assert matte.confidence == 0.0
    assert matte.ambiguous_ratio == 0.0


def test_speck_is_not_a_subject() -> None:
    values = np.zeros((320, 320), np.float32)
    values[100:103, 100:103] = 1
    assert not has_subject(values)
    values[100:110, 100:110] = 1
    assert has_subject(values)


def test_input_transparency_limits_alpha() -> None:
    image = noise_image(40, 60)
    own = np.random.default_rng(1).integers(0, 256, (40, 60), dtype=np.uint8)
    matte = run(np.ones((32, 32)), DecodedImage(image.rgb, own))
    assert np.array_equal(matte.alpha, own)
    assert np.array_equal(matte.foreground, image.rgb)


def test_transparent_image_has_no_subject() -> None:
    matte = run(np.ones((32, 32)), DecodedImage(noise_image(40, 60).rgb, np.zeros((40, 60), np.uint8)))
    assert matte.box is None
    assert matte.confidence == 0.0


def test_no_despill_returns_image_pixels() -> None:
    image = noise_image(200, 300)
    assert run(disc(64, 20), image, despill=False).foreground is image.rgb
    assert not np.array_equal(run(disc(64, 20), image).foreground, image.rgb)


def test_processed_cutout_is_unchanged() -> None:
    image = noise_image(120, 160)
    first = run(disc(64, 20), image)
    again = finish_matte(first.alpha, DecodedImage(first.foreground, first.alpha), 1.0)
    assert np.array_equal(again.alpha, first.alpha)
    assert np.array_equal(again.foreground, first.foreground)


def test_refine_does_not_change_its_inputs() -> None:
    image = noise_image(120, 160)
    kept = image.rgb.copy()
    values = disc(64, 20).astype(np.float32)
    before = values.copy()
    run(values, image)
    assert np.array_equal(image.rgb, kept)
    assert np.array_equal(values, before)


def test_certainty_falls_with_haze() -> None:
    sharp = disc(64, 20, 1).astype(np.float32)
    assert certainty(sharp) > 0.9
    assert certainty(np.maximum(sharp * 0.6, 0.3 * sharp)) < 0.5
    assert certainty(sharp) > certainty(disc(64, 20, 12).astype(np.float32)) > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (63, 64), (130, 129), (700, 450), (5, 4000)])
@pytest.mark.parametrize("seed", range(4))
def test_box_is_equal_for_any_strips(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    alpha = np.zeros(shape, np.uint8)
    for level in (3, 9, 10, 255)[: seed + 1]:
        alpha[int(rng.integers(shape[0])), int(rng.integers(shape[1]))] = level
    held = np.argwhere(alpha >= 10)
    box = subject_box(alpha)
    assert box == subject_box(alpha, foreground_strips(alpha))
    if not len(held):
        assert box is None
        return
    (top, left), (bottom, right) = held.min(0), held.max(0)
    assert box == Box(left, top, right - left + 1, bottom - top + 1)


def test_in_place_matte_is_equal() -> None:
    image, values = noise_image(230, 310), disc(64, 20)
    own = DecodedImage(image.rgb.copy())
    expected = run(values, image)
    matte = refine(RawMatte(values.astype(np.float32)), own, in_place=True)
    assert matte.foreground is own.rgb
    assert (matte.foreground == expected.foreground).all()
    assert (matte.alpha == expected.alpha).all()
    assert matte.confidence == expected.confidence
    assert (image.rgb == noise_image(230, 310).rgb).all()
    assert not (own.rgb == image.rgb).all()
