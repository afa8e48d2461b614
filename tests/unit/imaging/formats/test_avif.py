"""AVIF input and output, compared with Pillow, and hostile containers."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from clearcut.errors import ClearcutError, CorruptImage, SuspiciousStructure, TooManyPixels, UnsupportedFormat
from clearcut.imaging.decode import decode
from clearcut.imaging.encode import encode
from clearcut.imaging.formats.heif.avif import CODEC
from clearcut.imaging.formats.heif.images import data_of, read_image
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ComposedImage, DecodedImage, ProbeLimits
from tests.support import heif_files, samples

LIMITS = ProbeLimits()
PHOTO = samples.photo("coffee", 61, 41)
WITH_ALPHA = np.dstack([PHOTO, samples.disc(41, 61)])


def avif(pixels: np.ndarray, **options: object) -> bytes:
    return samples.saved(Image.fromarray(pixels), "AVIF", speed=10, max_threads=1, **options)


def opened(data: bytes) -> DecodedImage:
    return decode(data, probe(data, LIMITS))


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGBA"))


@pytest.mark.parametrize("size", [(61, 41), (1, 1), (2, 3), (64, 64)])
@pytest.mark.parametrize("options", [{}, {"subsampling": "4:4:4"}, {"range": "limited"}])
def test_pixels_equal_pillow(size: tuple[int, int], options: dict[str, object]) -> None:
    data = avif(samples.photo("coffee", *size), **options)
    np.testing.assert_array_equal(opened(data).rgb, by_pillow(data)[:, :, :3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int) -> None:
    data = avif(samples.as_stored(samples.corners(), orientation), exif=samples.exif(orientation), quality=95)
    image = opened(data)
    np.testing.assert_array_equal(image.rgb, by_pillow(data)[:, :, :3])
    assert np.abs(image.rgb.astype(int) - samples.corners()).mean() < 8


@pytest.mark.parametrize("premultiplied", [False, True])
def test_alpha_equals_pillow(premultiplied: bool) -> None:
    data = avif(WITH_ALPHA, alpha_premultiplied=premultiplied)
    image = opened(data)
    expected = by_pillow(data)
    np.testing.assert_array_equal(image.alpha, expected[:, :, 3])
    np.testing.assert_array_equal(image.rgb, expected[:, :, :3])


def test_gray_and_first_frame() -> None:
    data = avif(PHOTO[:, :, 1].copy())
    np.testing.assert_array_equal(opened(data).rgb, by_pillow(data)[:, :, :3])
    data = avif(PHOTO, save_all=True, append_images=[Image.fromarray(PHOTO[::-1].copy())])
    assert probe(data, LIMITS).frames == 2
    assert np.abs(opened(data).rgb.astype(int) - PHOTO).mean() < 8


@pytest.mark.parametrize("size", [(192, 128), (180, 100)])
def test_grid_equals_pillow(size: tuple[int, int]) -> None:
    """Two rows of three tiles; 64 is the smallest side of a tile."""
    width, height = size
    photo = samples.photo("coffee", 192, 128)
    file = heif_files.File(brand=b"avif")
    grid = file.add(b"grid", heif_files.grid_data(2, 3, width, height), heif_files.ispe(width, height))
    tiles = []
    for top in (0, 64):
        for left in (0, 64, 128):
            view = memoryview(avif(np.ascontiguousarray(photo[top : top + 64, left : left + 64])))
            image = read_image(view, LIMITS, CODEC)
            boxes = [heif_files.box(each.kind, bytes(view[each.start : each.end])) for each in image.main.properties]
            tiles.append(file.add(b"av01", data_of(view, image.main), *boxes))
    file.refer(b"dimg", grid, *tiles)
    data = file.build()
    image = opened(data)
    np.testing.assert_array_equal(image.rgb, by_pillow(data)[:, :, :3])
    assert np.abs(image.rgb.astype(int) - photo[:height, :width]).mean() < 8


def test_profile_is_converted_as_littlecms_does() -> None:
    data = avif(PHOTO, icc_profile=samples.icc_rgb())
    stored = Image.open(BytesIO(data)).convert("RGB")
    profile = ImageCms.ImageCmsProfile(BytesIO(samples.icc_rgb()))
    expected = ImageCms.profileToProfile(stored, profile, ImageCms.createProfile("sRGB"), renderingIntent=1)
    assert np.abs(opened(data).rgb.astype(int) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize("transfer", [13, 1])
def test_code_points_equal_profile(transfer: int) -> None:
    """Display P3 by code points gives the pixels of the equivalent profile in LittleCMS."""
    data = avif(PHOTO, subsampling="4:4:4")
    at = data.index(b"nclx") + 4
    wide = data[:at] + struct.pack(">HH", 12, transfer) + data[at + 4 :]
    stored = Image.fromarray(by_pillow(data)[:, :, :3].copy())
    profile = ImageCms.ImageCmsProfile(BytesIO(samples.icc_rgb(samples.P3_PRIMARIES)))
    expected = ImageCms.profileToProfile(stored, profile, ImageCms.createProfile("sRGB"), renderingIntent=1)
    assert np.abs(opened(wide).rgb.astype(int) - np.asarray(expected)).max() <= 2
    assert np.abs(opened(data).rgb.astype(int) - np.asarray(expected)).max() > 10


@pytest.mark.parametrize(("transfer", "stored", "level"), [(16, 148, 255), (16, 77, 63), (18, 191, 255), (18, 0, 0)])
def test_hdr_white_becomes_white(transfer: int, stored: int, level: int) -> None:
    """BT.2408: reference white is 58 % of PQ and 75 % of HLG. 30 % of PQ is 10 cd/m2 of its 203 cd/m2."""
    data = avif(np.full((16, 16, 3), stored, np.uint8), quality=100, subsampling="4:4:4")
    at = data.index(b"nclx") + 4
    shown = opened(data[:at] + struct.pack(">HH", 9, transfer) + data[at + 4 :]).rgb
    assert np.abs(shown.astype(int) - level).max() <= 2


@pytest.mark.parametrize("points", [(2, 2), (2, 13), (99, 99), (1, 1), (1, 6)])
def test_unspecified_colors_are_srgb(points: tuple[int, int]) -> None:
    data = avif(PHOTO)
    at = data.index(b"nclx") + 4
    changed = data[:at] + struct.pack(">HH", *points) + data[at + 4 :]
    np.testing.assert_array_equal(opened(changed).rgb, opened(data).rgb)


def test_metadata_is_not_in_the_output() -> None:
    data = bytes(encode(ComposedImage(WITH_ALPHA), "avif").data)
    found = Image.open(BytesIO(data))
    assert found.format == "AVIF"
    assert not {"exif", "xmp", "icc_profile"} & found.info.keys()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_output_is_decoded_by_pillow(channels: int) -> None:
    pixels = {1: WITH_ALPHA[:, :, 3:], 3: PHOTO, 4: WITH_ALPHA}[channels]
    data = bytes(encode(ComposedImage(pixels), "avif", 95).data)
    found = np.asarray(Image.open(BytesIO(data)).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    difference = np.abs(found.reshape(pixels.shape).astype(int) - pixels)
    assert difference[:, :, -1].mean() < 3
    shown = pixels[:, :, -1] > 250 if channels == 4 else np.ones(pixels.shape[:2], bool)
    assert difference[shown].mean() < 4


def test_every_truncation_is_refused() -> None:
    data = avif(WITH_ALPHA)
    for length in range(12, len(data)):
        with pytest.raises(ClearcutError):
            probe(data[:length], LIMITS)


def test_trailing_bytes_are_ignored() -> None:
    data = avif(PHOTO)
    assert probe(data + b"\x00\x00\x00\x01junk" * 99, LIMITS) == probe(data, LIMITS)


def test_size_limits() -> None:
    data = avif(PHOTO)
    with pytest.raises(TooManyPixels):
        probe(data, ProbeLimits(max_pixels=61 * 41 - 1))
    with pytest.raises(TooManyPixels):
        probe(data, ProbeLimits(max_side=60))


@pytest.mark.parametrize("size", [(60, 41), (122, 82), (16_384, 3_000)])
def test_declared_size_must_match_image_data(size: tuple[int, int]) -> None:
    data = avif(PHOTO)
    at = data.index(b"ispe") + 8
    with pytest.raises(SuspiciousStructure, match="another size"):
        probe(data[:at] + struct.pack(">II", *size) + data[at + 8 :], LIMITS)


def test_other_codec_is_named() -> None:
    data = heif_files.heic(samples.corners()).replace(b"heic", b"avif")
    with pytest.raises(UnsupportedFormat, match="hvc1"):
        probe(data, LIMITS)


def test_damaged_image_data_is_corrupt() -> None:
    data = bytearray(avif(PHOTO, quality=90))
    header = probe(bytes(data), LIMITS)
    data[-200:-20] = b"\xa5" * 180
    with pytest.raises(CorruptImage):
        decode(bytes(data), header)


def test_other_items_do_not_reach_the_decoder() -> None:
    data = avif(PHOTO, exif=samples.exif(1), xmp=b"<x>secret</x>")
    image = opened(data)
    assert np.abs(image.rgb.astype(int) - PHOTO).mean() < 8
    with pytest.raises(CorruptImage):
        decode(data[:-40], probe(data, LIMITS))
