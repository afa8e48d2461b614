"""refine on shapes and values of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imaging.refine import refine
from app.imaging.types import DecodedImage, Geometry, Matte, RawMatte


def picture(height: int, width: int, seed: int = 0) -> DecodedImage:
    return DecodedImage(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def run(values: np.ndarray, image: DecodedImage) -> Matte:
    geometry = Geometry(image.width, image.height, values.shape[0])
    return refine(RawMatte(values.astype(np.float32), geometry), image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 3), (2, 16384), (16384, 2), (97, 131)])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.6, 1.0])
def test_any_size(shape: tuple[int, int], level: float) -> None:
    matte = run(np.full((32, 32), level), picture(*shape))
    assert matte.alpha.shape == shape
    assert matte.foreground.shape == (*shape, 3)
    assert matte.alpha.dtype == matte.foreground.dtype == np.uint8
    assert (matte.box is None) == (level < 0.5)


@given(seed=st.integers(0, 1000), top=st.floats(0, 0.49))
def test_noise_is_not_stretched_into_a_subject(seed: int, top: float) -> None:
    matte = run(np.random.default_rng(seed).random((40, 40)) * top, picture(33, 50))
    assert not matte.alpha.any()
    assert matte.box is None
    assert matte.confidence == 0.0


def test_own_transparency_holds() -> None:
    image = picture(40, 60)
    own = np.random.default_rng(1).integers(0, 256, (40, 60), dtype=np.uint8)
    matte = run(np.ones((32, 32)), DecodedImage(image.rgb, own))
    assert np.array_equal(matte.alpha, own)
