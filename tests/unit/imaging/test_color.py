"""Color conversion: other color spaces become sRGB, and sRGB stays bit-equal."""

from __future__ import annotations

import struct

import numpy as np
import pytest

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


def flat(color: tuple[int, int, int]) -> np.ndarray:
    return np.full((24, 24, 3), color, np.uint8)


def _p3_to_srgb(color: tuple[int, int, int]) -> np.ndarray:
    level = np.array(color) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(samples.P3_PRIMARIES).T
    to_srgb = np.linalg.inv(np.array(samples.SRGB_PRIMARIES).T)
    light = np.clip(to_srgb @ (to_xyz @ light), 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("encode", [samples.jpeg, samples.png, samples.webp])
def test_display_p3_is_converted_to_srgb(encode: object) -> None:
    got = pixels_of(encode(flat(RED), icc_profile=samples.icc_rgb()))[12, 12]  # type: ignore[operator]
    assert np.abs(_p3_to_srgb(RED) - P3_RED_IN_SRGB).max() < 1
    assert np.abs(got.astype(int) - P3_RED_IN_SRGB).max() <= 3


def test_p3_photo_matches_reference() -> None:
    photo = samples.photo("coffee")
    got = pixels_of(samples.png(photo, icc_profile=samples.icc_rgb()))
    for down, across in ((10, 10), (200, 300), (390, 590), (100, 450)):
        reference = _p3_to_srgb(tuple(photo[down, across]))
        assert np.abs(got[down, across] - reference).max() < 2.5


def test_p3_keeps_gray_and_alpha() -> None:
    alpha = samples.disc(24, 24)
    data = samples.png(np.dstack([flat((128, 128, 128)), alpha]), icc_profile=samples.icc_rgb())
    image = decode(data, probe(data, ProbeLimits()))
    assert np.abs(image.rgb.astype(int) - 128).max() <= 1
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha, alpha)


def test_srgb_profile_changes_nothing() -> None:
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
def test_unusable_profile_is_ignored(profile: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(samples.png(flat(RED), icc_profile=profile)), flat(RED))


def test_incomplete_jpeg_profile_is_ignored() -> None:
    data = samples.jpeg(flat(RED), icc_profile=samples.icc_rgb())
    at = data.index(b"ICC_PROFILE\x00") + 13
    assert data[at] == 1  # one part
    broken = data[:at] + b"\x02" + data[at + 1 :]
    np.testing.assert_array_equal(pixels_of(broken), pixels_of(samples.jpeg(flat(RED))))


def test_long_jpeg_profile_is_joined() -> None:
    profile = samples.icc_rgb()
    padded = struct.pack(">I", len(profile) + 100_000) + profile[4:] + bytes(100_000)
    data = samples.jpeg(flat(RED), icc_profile=padded)
    assert data.count(b"ICC_PROFILE\x00") == 2
    assert np.abs(pixels_of(data)[12, 12].astype(int) - P3_RED_IN_SRGB).max() <= 3


@pytest.mark.parametrize("fmt", ["jpeg", "png"])
def test_gray_linear_profile_is_converted(fmt: str) -> None:
    profile = samples.icc_gray(samples.gamma_curve(1.0))
    got = pixels_of(getattr(samples, fmt)(np.full((24, 24), 60, np.uint8), icc_profile=profile))[12, 12]
    light = 60 / 255
    reference = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(got - reference).max() < 2
    assert got[0] == got[1] == got[2]


@pytest.mark.parametrize("make", [samples.jpeg_cmyk, samples.jpeg_ycck])
def test_cmyk_profile_is_applied(make: object) -> None:
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
def test_png_gamma_alone_is_applied(depth: int) -> None:
    top = (1 << depth) - 1
    stored = np.full((4, 4, 3), round(top * 60 / 255), np.uint16)
    linear = samples.png_chunk(b"gAMA", struct.pack(">I", 100_000))
    light = 60 / 255
    reference = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(pixels_of(samples.png_raw(stored, depth, 2, extra=linear)) - reference).max() <= 1


@pytest.mark.parametrize("winner", [b"sRGB", b"cICP", b"iCCP"])
def test_png_color_chunks_override_gamma(winner: bytes) -> None:
    body = bytes((1, 13, 0, 1)) if winner == b"cICP" else bytes(4)
    extra = samples.png_chunk(winner, body) + samples.png_chunk(b"gAMA", struct.pack(">I", 100_000))
    got = pixels_of(samples.png_raw(flat(RED), 8, 2, extra=extra))
    np.testing.assert_array_equal(got, flat(RED))


@pytest.mark.parametrize("value", [0, 45_455, 45_000, 2**31 - 1])
def test_srgb_or_invalid_png_gamma_is_ignored(value: int) -> None:
    extra = samples.png_chunk(b"gAMA", struct.pack(">I", value))
    np.testing.assert_array_equal(pixels_of(samples.png_raw(flat(RED), 8, 2, extra=extra)), flat(RED))


def test_gamma_table_keeps_black_and_white() -> None:
    for depth in (8, 16):
        table = gamma_table(0.55556, depth)
        assert table is not None
        assert (table[0], table[-1], len(table)) == (0, 255, 1 << depth)
