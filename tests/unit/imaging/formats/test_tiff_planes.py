"""TIFF input with a plane for each sample, and 16 bits; compared with the source pixels."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ProbeLimits
from tests.support import samples

PHOTO = samples.photo("coffee", 61, 41)
ALPHA = samples.disc(41, 61)
RAMP = np.tile(np.linspace(0, 65_535, 61).astype(np.uint16), (41, 1))
"""The high byte of most samples differs from the low byte."""


def by_tifffile(pixels: np.ndarray, photometric: str = "rgb", **options: Any) -> bytes:
    out = BytesIO()
    tifffile.imwrite(out, pixels, photometric=photometric, metadata=None, **options)
    return out.getvalue()


def opened(data: bytes) -> DecodedImage:
    return decode(data, probe(data, ProbeLimits()))


def without_extra_samples(data: bytes) -> bytes:
    """Replace the tag ExtraSamples by TargetPrinter, which is not read."""
    out = bytearray(data)
    (start,) = struct.unpack_from("<I", out, 4)
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", out, start)[0], 12):
        if struct.unpack_from("<H", out, at)[0] == 338:
            struct.pack_into("<H", out, at, 337)
    assert out != data
    return bytes(out)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"rowsperstrip": 7}, {"tile": (32, 32)}])
@pytest.mark.parametrize("extra", [[], ["unspecified"], ["unspecified"] * 2, ["unassalpha"]])
def test_planes_of_16_bits(byteorder: str, options: dict[str, Any], extra: list[str]) -> None:
    planes = np.stack([RAMP, RAMP[::-1, ::-1], RAMP // 2, *[RAMP // 3] * len(extra)])
    kinds = {"extrasamples": extra} if extra else {}
    image = opened(by_tifffile(planes, planarconfig="separate", byteorder=byteorder, **kinds, **options))
    expected = np.round(planes / 257)
    np.testing.assert_array_equal(image.rgb, np.moveaxis(expected[:3], 0, 2))
    assert (image.alpha is not None) == (extra == ["unassalpha"])
    if image.alpha is not None:
        np.testing.assert_array_equal(image.alpha, expected[3])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_planes(dtype: type) -> None:
    inks = np.asarray(Image.fromarray(PHOTO).convert("CMYK"))
    stored = np.ascontiguousarray(np.moveaxis(inks, 2, 0)).astype(dtype) * (1 if dtype == np.uint8 else 257)
    for extra in ({}, {"extrasamples": ["unspecified"]}):
        planes = stored if not extra else np.concatenate([stored, stored[:1]])
        image = opened(by_tifffile(planes.astype(dtype), "separated", planarconfig="separate", **extra))
        np.testing.assert_array_equal(image.rgb, np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("unit", [1, 257])
def test_gray_and_alpha_planes(compression: str | None, kind: str, photometric: str, unit: int) -> None:
    gray = np.minimum(PHOTO[:, :, 1], ALPHA)
    stored = np.stack([gray, ALPHA]).astype(np.uint8 if unit == 1 else np.uint16) * unit
    data = by_tifffile(
        stored.astype(np.uint8 if unit == 1 else np.uint16), photometric,
        planarconfig="separate", extrasamples=[kind], compression=compression,
    )  # fmt: skip
    image = opened(data)
    np.testing.assert_array_equal(image.alpha, ALPHA)
    straight = np.round(gray[ALPHA > 0] * 255.0 / ALPHA[ALPHA > 0]) if kind == "assocalpha" else gray[ALPHA > 0]
    expected = 255 - straight if photometric == "miniswhite" else straight
    assert np.abs(image.rgb[ALPHA > 0].astype(int) - expected[:, None]).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_fourth_plane_without_a_kind_is_straight_alpha(dtype: type, compression: str | None) -> None:
    planes = np.ones((4, 41, 61), np.uint8) * np.array([200, 100, 50, 128], np.uint8)[:, None, None]
    stored = (planes.astype(dtype) * (1 if dtype == np.uint8 else 257)).astype(dtype)
    data = by_tifffile(stored, planarconfig="separate", extrasamples=["unassalpha"], compression=compression)
    image = opened(without_extra_samples(data))
    np.testing.assert_array_equal(image.rgb, np.moveaxis(planes[:3], 0, 2))
    np.testing.assert_array_equal(image.alpha, planes[3])


def test_premultiplied_planes_become_straight() -> None:
    stored = np.dstack([np.minimum(PHOTO, ALPHA[:, :, None]), ALPHA])
    planes = np.ascontiguousarray(np.moveaxis(stored, 2, 0))
    for compression in (None, "zlib"):
        options = {"extrasamples": ["assocalpha"], "compression": compression}
        interleaved, separate = (
            opened(by_tifffile(stored, **options)),
            opened(by_tifffile(planes, planarconfig="separate", **options)),
        )
        np.testing.assert_array_equal(separate.rgb, interleaved.rgb)
        np.testing.assert_array_equal(separate.alpha, ALPHA)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_inverted_gray_of_16_bits(byteorder: str, compression: str | None) -> None:
    data = by_tifffile(RAMP, "miniswhite", byteorder=byteorder, compression=compression)
    np.testing.assert_array_equal(opened(data).rgb[:, :, 0], 255 - np.round(RAMP / 257))


def test_single_sample_as_a_plane() -> None:
    """PlanarConfiguration has no meaning with one sample, and Pillow refuses 2 there."""
    data = samples.saved(Image.fromarray(RAMP), "TIFF", tiffinfo={284: 2})
    with tifffile.TiffFile(BytesIO(data)) as file:
        assert file.pages[0].tags[284].value == 2
    np.testing.assert_array_equal(opened(data).rgb[:, :, 0], np.round(RAMP / 257))
