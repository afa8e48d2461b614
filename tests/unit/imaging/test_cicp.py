"""Color spaces of cICP chunks, compared with LittleCMS, or with the formulas of the standards for HDR."""

from __future__ import annotations

import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import samples

COLORS = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3), axis=-1).astype(np.uint8).reshape(64, 64, 3)
SRGB_PRIMARIES = (
    (0.4360747, 0.2225045, 0.0139322),
    (0.3850649, 0.7168786, 0.0971045),
    (0.1430804, 0.0606169, 0.7141733),
)
P3_PRIMARIES = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
BT2020_PRIMARIES = ((0.67348, 0.27904, -0.00194), (0.16566, 0.67535, 0.02998), (0.12505, 0.04561, 0.79686))
LINEAR, SRGB = samples.parametric_curve(0, 1.0), samples.SRGB_PARAMETRIC
PROFILES = {
    (1, 8): (SRGB_PRIMARIES, LINEAR), (1, 13): (SRGB_PRIMARIES, SRGB), (12, 8): (P3_PRIMARIES, LINEAR),
    (12, 13): (P3_PRIMARIES, SRGB), (9, 13): (BT2020_PRIMARIES, SRGB),
    (12, 4): (P3_PRIMARIES, samples.gamma_curve(2.2)),
    (1, 1): (SRGB_PRIMARIES, samples.parametric_curve(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)),
    (12, 6): (P3_PRIMARIES, samples.parametric_curve(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)),
}  # fmt: skip
"""The ICC profile of each pair of code points."""


def cicp(primaries: int, transfer: int, matrix: int = 0, full_range: int = 1) -> bytes:
    return samples.png_chunk(b"cICP", bytes((primaries, transfer, matrix, full_range)))


def opened(pixels: np.ndarray, extra: bytes, depth: int = 8) -> np.ndarray:
    data = samples.png_raw(pixels, depth, 2, extra=extra)
    return decode(data, probe(data, ProbeLimits())).rgb.astype(int)


def by_littlecms(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.HIGHRESPRECALC,
    )  # fmt: skip
    return np.asarray(transform.apply(Image.fromarray(pixels))).astype(int)


@pytest.mark.parametrize("points", PROFILES)
def test_code_points_match_their_profile(points: tuple[int, int]) -> None:
    expected = by_littlecms(COLORS, samples.icc_rgb(*PROFILES[points]))
    assert np.abs(opened(COLORS, cicp(*points)) - expected).max() <= 2
    assert np.abs(opened(COLORS, cicp(*points)) - expected).mean() < 0.3


@pytest.mark.parametrize("points", PROFILES)
def test_16_bits_match_8_bits(points: tuple[int, int]) -> None:
    wide = opened(COLORS.astype(np.uint16) * 257, cicp(*points), 16)
    assert np.abs(wide - opened(COLORS, cicp(*points))).max() <= 1


def test_16_bit_linear_light_keeps_dark_levels() -> None:
    ramp = np.repeat(np.arange(0, 4096, 16, dtype=np.uint16)[None, :, None], 3, axis=2)
    light = ramp / 65535
    expected = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(opened(ramp, cicp(1, 8), 16) - expected).max() <= 1


def test_display_p3_red_equals_its_profile() -> None:
    flat = np.full((4, 4, 3), (210, 40, 30), np.uint8)
    profile = samples.icc_rgb(P3_PRIMARIES, SRGB)
    data = samples.png(flat, icc_profile=profile)
    by_profile = decode(data, probe(data, ProbeLimits())).rgb
    np.testing.assert_array_equal(opened(flat, cicp(12, 13)), by_profile)
    assert tuple(by_profile[0, 0]) == (229, 0, 0)


def test_code_points_override_other_chunks() -> None:
    iccp = samples.png_chunk(b"iCCP", b"p\x00\x00" + zlib.compress(samples.icc_rgb()))
    gamma = samples.png_chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    srgb = samples.png_chunk(b"sRGB", b"\x00")
    np.testing.assert_array_equal(opened(COLORS, cicp(1, 13) + iccp + gamma + srgb), COLORS)
    np.testing.assert_array_equal(opened(COLORS, srgb + cicp(12, 13)), opened(COLORS, cicp(12, 13)))


@pytest.mark.parametrize(
    "chunk", [cicp(2, 13), cicp(12, 2), cicp(1, 13, matrix=1), samples.png_chunk(b"cICP", b"\x0c\x0d")]
)
def test_unsupported_code_points_are_ignored(chunk: bytes) -> None:
    np.testing.assert_array_equal(opened(COLORS, chunk), COLORS)
    linear = samples.png_chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    np.testing.assert_array_equal(opened(COLORS, chunk + linear), opened(COLORS, linear))


def test_narrow_range_is_expanded() -> None:
    levels = np.full((1, 4, 3), 16, np.uint8)
    levels[0, 1:, :] = np.array([235, 126, 255])[:, None]
    assert opened(levels, cicp(1, 13, full_range=0))[0, :, 0].tolist() == [0, 255, 128, 255]


@pytest.mark.parametrize(
    ("transfer", "signal", "level"),
    [(16, 0.5807, 255), (16, 1.0, 255), (16, 0.0, 0), (18, 0.75, 255), (18, 1.0, 255), (18, 0.0, 0)],
)
def test_hdr_reference_white_becomes_white(transfer: int, signal: float, level: int) -> None:
    """BT.2408: 203 cd/m2 is 58 % of PQ and 75 % of HLG."""
    pixels = np.full((2, 2, 3), round(signal * 65535), np.uint16)
    assert np.abs(opened(pixels, cicp(9, transfer), 16) - level).max() <= 1


def test_pq_of_10_candela_matches_formula() -> None:
    c1, c2, c3, m1, m2 = 0.8359375, 18.8515625, 18.6875, 0.1593017578125, 78.84375
    power = (10 / 10_000) ** m1
    signal = ((c1 + c2 * power) / (1 + c3 * power)) ** m2
    light = 10 / 203
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    pixels = np.full((2, 2, 3), round(signal * 65535), np.uint16)
    assert np.abs(opened(pixels, cicp(12, 16), 16) - expected).max() <= 1
