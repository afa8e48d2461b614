"""Matrix profiles, compared with LittleCMS."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from clearcut.imaging import icc_matrix
from tests.support import samples

CURVES = {
    "sRGB table": samples.srgb_curve(),
    "sRGB formula": samples.SRGB_PARAMETRIC,
    "gamma 2.2": samples.gamma_curve(2.2),
    "gamma 1.8 formula": samples.parametric_curve(0, 1.8),
    "formula 1": samples.parametric_curve(1, 2.2, 0.9, 0.1),
    "formula 2": samples.parametric_curve(2, 2.2, 0.9, 0.05, 0.02),
    "formula 4": samples.parametric_curve(4, 2.4, 0.94, 0.05, 0.08, 0.04, 0.01, 0.0),
    "no curve": b"curv" + bytes(8),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("primaries", [samples.P3_PRIMARIES, samples.ADOBE_PRIMARIES])
def test_matrix_profiles_match_littlecms(curve: str, primaries: tuple[tuple[float, ...], ...]) -> None:
    profile = samples.icc_rgb(primaries, CURVES[curve])  # type: ignore[arg-type]
    photo = samples.photo("coffee", 150, 100)
    engine = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    expected = np.asarray(engine.apply(Image.fromarray(photo))).astype(int)
    simple = icc_matrix.parse(profile)
    assert simple is not None
    got = photo.copy()
    simple.convert(got)
    off = np.abs(got.astype(int) - expected)
    assert off.max() <= 4  # in the deepest shadows, where the engine's own tables are coarse
    assert off.mean() < 0.2


def test_other_profiles_are_rejected() -> None:
    whole = samples.icc_rgb()
    assert icc_matrix.parse(whole) is not None
    assert icc_matrix.parse(samples.icc_gray(samples.gamma_curve(1.0))) is None
    assert icc_matrix.parse(samples.icc_cmyk()) is None
    assert icc_matrix.parse(whole.replace(b"gTRC", b"xTRC")) is None
    assert icc_matrix.parse(whole.replace(b"desc", b"A2B0", 1)) is None
    for length in range(0, len(whole) - 1, 7):
        parsed = icc_matrix.parse(whole[:length])
        assert parsed is None or np.isfinite(parsed.matrix).all()


@given(st.integers(0, 4), st.lists(st.integers(-(2**31), 2**31 - 1), min_size=7, max_size=7))
@settings(max_examples=200, deadline=None)
def test_any_curve_gives_finite_values(kind: int, values: list[int]) -> None:
    body = b"para" + struct.pack(">IHH7i", 0, kind, 0, *values)
    simple = icc_matrix.parse(samples.icc_rgb(curve=body))
    if simple is not None:
        pixels = samples.corners(4, 4)
        simple.convert(pixels)
        assert simple.linear.min() >= 0
        assert simple.linear.max() <= 1
