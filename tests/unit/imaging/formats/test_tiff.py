"""TIFF input, compared with Pillow and with the source pixels, and hostile directories."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from clearcut.errors import ClearcutError, CorruptImage, SuspiciousStructure, TooManyPixels, UnsupportedFormat
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ProbeLimits
from tests.support import samples

LIMITS = ProbeLimits()
PHOTO = samples.photo("coffee", 61, 41)
ALPHA = samples.disc(41, 61)
WITH_ALPHA = np.dstack([PHOTO, ALPHA])
DEEP = PHOTO.astype(np.uint16) * 257 + np.random.default_rng(0).integers(-100, 100, PHOTO.shape)
DEEP = np.clip(DEEP, 0, 65_535).astype(np.uint16)
METHODS = (None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")


def by_pillow(mode: str, compression: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(WITH_ALPHA).convert(mode)
    return samples.saved(image, "TIFF", compression=compression, **options)


def by_tifffile(pixels: np.ndarray, photometric: str = "rgb", **options: Any) -> bytes:
    out = BytesIO()
    tifffile.imwrite(out, pixels, photometric=photometric, metadata=None, **options)
    return out.getvalue()


def opened(data: bytes) -> DecodedImage:
    return decode(data, probe(data, LIMITS))


def patched(data: bytes, tag: int, value: int, kind: int | None = None, count: int | None = None) -> bytes:
    """Change an entry of the first directory of a little-endian file."""
    out = bytearray(data)
    (start,) = struct.unpack_from("<I", out, 4)
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", out, start)[0], 12):
        if struct.unpack_from("<H", out, at)[0] == tag:
            old_kind, old_count = struct.unpack_from("<HI", out, at + 2)
            struct.pack_into("<HII", out, at + 2, kind or old_kind, old_count if count is None else count, value)
            return bytes(out)
    raise KeyError(tag)


@pytest.mark.parametrize("compression", METHODS)
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_pixels_equal_pillow(mode: str, compression: str | None) -> None:
    data = by_pillow(mode, compression)
    image = opened(data)
    expected = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
    np.testing.assert_array_equal(image.rgb, expected[:, :, :3])
    assert (image.alpha is not None) == (mode in ("RGBA", "LA"))
    if image.alpha is not None:
        np.testing.assert_array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_orientation_is_applied_once(orientation: int, compression: str | None) -> None:
    stored = Image.fromarray(samples.as_stored(PHOTO, orientation))
    data = samples.saved(stored, "TIFF", compression=compression, tiffinfo={274: orientation})
    np.testing.assert_array_equal(opened(data).rgb, PHOTO)
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data)))), PHOTO)


LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {},
    "one row a strip": {"rowsperstrip": 1},
    "tiles": {"tile": (16, 32)},
    "big-endian": {"byteorder": ">"},
    "deflate with predictor": {"compression": "zlib", "predictor": True},
    "deflate tiles": {"compression": "zlib", "tile": (32, 32), "byteorder": ">"},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_8_and_16_bits(name: str) -> None:
    """Color of 16 bits may differ by one level, because Pillow drops the low byte."""
    options = LAYOUTS[name]
    rounded = np.round(DEEP / 257).astype(np.uint8)
    np.testing.assert_array_equal(opened(by_tifffile(PHOTO, **options)).rgb, PHOTO)
    assert np.abs(opened(by_tifffile(DEEP, **options)).rgb.astype(int) - rounded).max() <= 1
    gray = opened(by_tifffile(DEEP[:, :, 0].copy(), "minisblack", **options)).rgb
    np.testing.assert_array_equal(gray, rounded[:, :, [0, 0, 0]])


@pytest.mark.parametrize("options", [{}, {"tile": (32, 32)}, {"compression": "zlib"}])
def test_separate_planes(options: dict[str, Any]) -> None:
    data = by_tifffile(np.ascontiguousarray(np.moveaxis(PHOTO, 2, 0)), planarconfig="separate", **options)
    np.testing.assert_array_equal(opened(data).rgb, PHOTO)


def test_inverted_gray() -> None:
    gray = DEEP[:, :, 0].copy()
    for pixels in (gray, PHOTO[:, :, 0].copy()):
        level = np.round(pixels / 257) if pixels.dtype == np.uint16 else pixels
        found = opened(by_tifffile(pixels, "miniswhite")).rgb
        np.testing.assert_array_equal(found[:, :, 0], 255 - level)


def test_premultiplied_alpha_becomes_straight() -> None:
    data = by_tifffile(WITH_ALPHA, extrasamples=["assocalpha"])
    expected = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
    image = opened(data)
    np.testing.assert_array_equal(image.rgb, expected[:, :, :3])
    np.testing.assert_array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_premultiplied_gray_becomes_straight(compression: str | None) -> None:
    gray = np.dstack([np.minimum(PHOTO[:, :, 1], ALPHA), ALPHA])
    data = by_tifffile(gray, "minisblack", extrasamples=["assocalpha"], compression=compression)
    expected = np.asarray(Image.frombytes("La", (61, 41), gray.tobytes()).convert("LA").convert("RGBA"))
    image = opened(data)
    np.testing.assert_array_equal(image.rgb, expected[:, :, :3])
    np.testing.assert_array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("extra", [["unspecified"], ["assocalpha"], ["unassalpha"], ["unspecified"] * 2])
def test_spot_colors_are_ignored(extra: list[str]) -> None:
    """Print programs add channels to CMYK, and some call them alpha."""
    inks = np.asarray(Image.fromarray(PHOTO).convert("CMYK"))
    spots = np.full((*inks.shape[:2], len(extra)), 99, np.uint8)
    image = opened(by_tifffile(np.dstack([inks, spots]), "separated", extrasamples=extra))
    np.testing.assert_array_equal(image.rgb, np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))
    assert image.alpha is None


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (32, 32)}, {"rowsperstrip": 7}])
@pytest.mark.parametrize("count", [1, 2])
def test_unused_planes_are_ignored(options: dict[str, Any], count: int) -> None:
    planes = np.stack([*np.moveaxis(PHOTO, 2, 0), *[ALPHA] * count])
    data = by_tifffile(planes, planarconfig="separate", extrasamples=["unspecified"] * count, **options)
    image = opened(data)
    np.testing.assert_array_equal(image.rgb, PHOTO)
    assert image.alpha is None


def test_unknown_combination_of_samples_is_named() -> None:
    data = by_tifffile(np.dstack([DEEP[:, :, 0], DEEP[:, :, 1]]), "minisblack", extrasamples=["unassalpha"])
    with pytest.raises(UnsupportedFormat, match="2 samples of 16 bits for each pixel; save it as gray or RGB"):
        opened(data)


def test_profiles_are_converted_as_littlecms_does() -> None:
    srgb = ImageCms.createProfile("sRGB")
    for mode, profile in (("RGB", samples.icc_rgb()), ("CMYK", samples.icc_cmyk())):
        data = by_pillow(mode, icc_profile=profile)
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        expected = ImageCms.profileToProfile(
            Image.open(BytesIO(data)), source, srgb, renderingIntent=1, outputMode="RGB", flags=flags
        )
        assert np.abs(opened(data).rgb.astype(int) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (16_384, 1), (1, 16_384)])
def test_extreme_sizes(width: int, height: int) -> None:
    pixels = np.full((height, width, 3), 90, np.uint8)
    for compression in (None, "tiff_lzw"):
        np.testing.assert_array_equal(
            opened(samples.saved(Image.fromarray(pixels), "TIFF", compression=compression)).rgb, pixels
        )


def test_first_page_of_several() -> None:
    other = Image.fromarray(PHOTO[::-1].copy())
    data = samples.saved(Image.fromarray(PHOTO), "TIFF", save_all=True, append_images=[other])
    header = probe(data, LIMITS)
    assert header.frames == 2
    np.testing.assert_array_equal(decode(data, header).rgb, PHOTO)


def test_loop_of_directories_is_not_followed() -> None:
    data = bytearray(by_pillow("RGB"))
    (start,) = struct.unpack_from("<I", data, 4)
    end = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, end, start)
    header = probe(bytes(data), LIMITS)
    assert header.frames == 2
    np.testing.assert_array_equal(decode(bytes(data), header).rgb, PHOTO)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_every_truncation_is_corrupt(compression: str | None) -> None:
    data = samples.saved(Image.fromarray(PHOTO[:9, :9]), "TIFF", compression=compression)
    for length in range(4, len(data) - 8):  # Pillow writes the data last, or a directory with unused padding
        with pytest.raises(CorruptImage):
            opened(data[:length])


@pytest.mark.parametrize(
    ("tag", "value", "error"),
    [
        (256, 16_385, TooManyPixels),
        (257, 0, CorruptImage),
        (256, 16_000, CorruptImage),
        (259, 6, UnsupportedFormat),
        (259, 7, UnsupportedFormat),
        (259, 50_000, UnsupportedFormat),
        (262, 8, UnsupportedFormat),
        (277, 60_000, UnsupportedFormat),
        (278, 1, CorruptImage),
        (273, 1 << 31, CorruptImage),
    ],
)
def test_contradicting_tags_are_refused(tag: int, value: int, error: type[ClearcutError]) -> None:
    with pytest.raises(error):
        probe(patched(by_pillow("RGB"), tag, value, 4, 1), LIMITS)


def test_strips_that_share_data_are_refused() -> None:
    count = 2000
    data = bytearray(by_tifffile(np.zeros((count, 8), np.uint8), "minisblack", rowsperstrip=1, compression="zlib"))
    with tifffile.TiffFile(BytesIO(bytes(data))) as file:
        tags = file.pages[0].tags
        starts, lengths = tags[273].valueoffset, tags[279].valueoffset
        length_format = "<I" if tags[279].dtype == 4 else "<H"
    size = struct.calcsize(length_format)
    for index in range(count):
        struct.pack_into("<I", data, starts + 4 * index, 8)
        struct.pack_into(length_format, data, lengths + size * index, len(data) - 8 if size == 4 else 60_000)
    with pytest.raises(ClearcutError):
        probe(bytes(data) + bytes(60_000), LIMITS)


def test_flood_of_entries_is_refused() -> None:
    data = b"II*\x00" + struct.pack("<IH", 8, 65_535) + bytes(12 * 65_535)
    with pytest.raises(SuspiciousStructure):
        probe(data, LIMITS)


def test_giant_tiles_are_refused() -> None:
    data = by_tifffile(PHOTO, tile=(64, 64))
    for tag in (322, 323):
        data = patched(data, tag, 1 << 20)
    with pytest.raises(SuspiciousStructure, match="far larger"):
        probe(data, LIMITS)


@pytest.mark.parametrize("kind", ["dng", "preview"])
def test_camera_raw_is_named(kind: str) -> None:
    extra = {50706: b"\x01\x04\x00\x00"} if kind == "dng" else {254: 1}
    data = samples.saved(Image.fromarray(PHOTO), "TIFF", tiffinfo=extra | ({} if kind == "dng" else {330: 8}))
    with pytest.raises(UnsupportedFormat, match="camera raw; export it as JPEG"):
        probe(data, LIMITS)
