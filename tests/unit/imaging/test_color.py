"""Colour spaces: what is not sRGB is moved, the expected way; what is sRGB is left bit for bit."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from clearcut.imaging import icc_matrix
from clearcut.imaging.color import gamma_table
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import samples

RED = (200, 60, 60)
P3_RED_IN_SRGB = (217, 42, 52)
"""Worked out from the published primaries and the sRGB curve, not with the code under test; see ``_p3_to_srgb``."""


def pixels_of(data: bytes) -> np.ndarray:
    return decode(data, probe(data, ProbeLimits())).rgb


def flat(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((24, 24, 3), colour, np.uint8)


def _p3_to_srgb(colour: tuple[int, int, int]) -> np.ndarray:
    level = np.array(colour) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(samples.P3_PRIMARIES).T
    to_srgb = np.linalg.inv(np.array(samples.SRGB_PRIMARIES).T)
    light = np.clip(to_srgb @ (to_xyz @ light), 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("encode", [samples.jpeg, samples.png, samples.webp])
def test_display_p3_becomes_more_saturated_numbers(encode: object) -> None:
    got = pixels_of(encode(flat(RED), icc_profile=samples.icc_rgb()))[12, 12]  # type: ignore[operator]
    assert np.abs(_p3_to_srgb(RED) - P3_RED_IN_SRGB).max() < 1
    assert np.abs(got.astype(int) - P3_RED_IN_SRGB).max() <= 3


def test_a_photo_in_p3_agrees_with_the_arithmetic() -> None:
    photo = samples.photo("coffee")
    got = pixels_of(samples.png(photo, icc_profile=samples.icc_rgb()))
    for down, across in ((10, 10), (200, 300), (390, 590), (100, 450)):
        wanted = _p3_to_srgb(tuple(photo[down, across]))
        assert np.abs(got[down, across] - wanted).max() < 2.5


def test_grey_stays_grey_in_p3_and_alpha_is_not_touched() -> None:
    alpha = samples.disc(24, 24)
    data = samples.png(np.dstack([flat((128, 128, 128)), alpha]), icc_profile=samples.icc_rgb())
    image = decode(data, probe(data, ProbeLimits()))
    assert np.abs(image.rgb.astype(int) - 128).max() <= 1
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha, alpha)


def test_an_srgb_profile_changes_nothing_whatever_its_name() -> None:
    photo = samples.photo("rocket")
    profile = samples.icc_rgb(samples.SRGB_PRIMARIES)
    np.testing.assert_array_equal(pixels_of(samples.png(photo, icc_profile=profile)), photo)


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        samples.icc_rgb()[:200],
        samples.icc_cmyk(),
        samples.icc_rgb()[:16] + b"\xc4\xc4\xc4\xc4" + samples.icc_rgb()[20:],
        bytes(5 << 20),
    ],
    ids=["noise", "truncated", "of another space", "of no space", "too large"],
)
def test_an_unusable_profile_counts_as_none(profile: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(samples.png(flat(RED), icc_profile=profile)), flat(RED))


def test_a_jpeg_profile_with_a_part_missing_counts_as_none() -> None:
    data = samples.jpeg(flat(RED), icc_profile=samples.icc_rgb())
    at = data.index(b"ICC_PROFILE\x00") + 13
    assert data[at] == 1  # one part
    broken = data[:at] + b"\x02" + data[at + 1 :]
    np.testing.assert_array_equal(pixels_of(broken), pixels_of(samples.jpeg(flat(RED))))


def test_a_long_jpeg_profile_is_joined_from_its_parts() -> None:
    profile = samples.icc_rgb()
    padded = struct.pack(">I", len(profile) + 100_000) + profile[4:] + bytes(100_000)
    data = samples.jpeg(flat(RED), icc_profile=padded)
    assert data.count(b"ICC_PROFILE\x00") == 2
    assert np.abs(pixels_of(data)[12, 12].astype(int) - P3_RED_IN_SRGB).max() <= 3


@pytest.mark.parametrize("fmt", ["jpeg", "png"])
def test_a_grey_profile_with_linear_light(fmt: str) -> None:
    profile = samples.icc_gray(samples.gamma_curve(1.0))
    got = pixels_of(getattr(samples, fmt)(np.full((24, 24), 60, np.uint8), icc_profile=profile))[12, 12]
    light = 60 / 255
    wanted = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(got - wanted).max() < 2
    assert got[0] == got[1] == got[2]


@pytest.mark.parametrize("make", [samples.jpeg_cmyk, samples.jpeg_ycck])
def test_a_cmyk_profile_decides_what_an_ink_looks_like(make: object) -> None:
    inks = np.zeros((24, 24, 4), np.uint8)
    inks[:, :, 0] = 255
    plain = pixels_of(make(inks))[12, 12]  # type: ignore[operator]
    assert np.abs(plain.astype(int) - (0, 255, 255)).max() <= 3
    # Lab 50 -20 -30 is sRGB 0 130 169 (CIE 15 and IEC 61966-2-1)
    printed = pixels_of(make(inks, icc_profile=samples.icc_cmyk((50, -20, -30))))[12, 12]  # type: ignore[operator]
    assert np.abs(printed.astype(int) - (0, 130, 169)).max() <= 4
    paper = pixels_of(make(inks * 0, icc_profile=samples.icc_cmyk()))[12, 12]  # type: ignore[operator]
    assert paper.min() >= 253


@pytest.mark.parametrize("depth", [8, 16])
def test_png_gamma_alone_is_honoured(depth: int) -> None:
    top = (1 << depth) - 1
    stored = np.full((4, 4, 3), round(top * 60 / 255), np.uint16)
    linear = samples.png_chunk(b"gAMA", struct.pack(">I", 100_000))
    light = 60 / 255
    wanted = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(pixels_of(samples.png_raw(stored, depth, 2, extra=linear)) - wanted).max() <= 1


@pytest.mark.parametrize("winner", [b"sRGB", b"cICP", b"iCCP"])
def test_png_gamma_gives_way_to_better_information(winner: bytes) -> None:
    extra = samples.png_chunk(winner, bytes(4)) + samples.png_chunk(b"gAMA", struct.pack(">I", 100_000))
    got = pixels_of(samples.png_raw(flat(RED), 8, 2, extra=extra))
    np.testing.assert_array_equal(got, flat(RED))


@pytest.mark.parametrize("value", [0, 45_455, 45_000, 2**31 - 1])
def test_png_gamma_that_means_srgb_or_nothing(value: int) -> None:
    extra = samples.png_chunk(b"gAMA", struct.pack(">I", value))
    np.testing.assert_array_equal(pixels_of(samples.png_raw(flat(RED), 8, 2, extra=extra)), flat(RED))


def test_gamma_table_keeps_black_and_white() -> None:
    for depth in (8, 16):
        table = gamma_table(0.55556, depth)
        assert table is not None
        assert (table[0], table[-1], len(table)) == (0, 255, 1 << depth)


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
def test_simple_profiles_agree_with_the_general_engine(curve: str, primaries: tuple[tuple[float, ...], ...]) -> None:
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


def test_what_is_no_simple_profile_is_left_to_the_engine() -> None:
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
def test_no_curve_is_too_wild(kind: int, values: list[int]) -> None:
    body = b"para" + struct.pack(">IHH7i", 0, kind, 0, *values)
    simple = icc_matrix.parse(samples.icc_rgb(curve=body))
    if simple is not None:
        pixels = samples.corners(4, 4)
        simple.convert(pixels)
        assert simple.linear.min() >= 0
        assert simple.linear.max() <= 1
