"""Decoded pixels of every kind of input."""

from __future__ import annotations

import numpy as np
import pytest

from clearcut.errors import CorruptImage
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ImageHeader, ProbeLimits
from tests.support import samples

LIMITS = ProbeLimits()
CORNERS = samples.corners(48, 32)


def opened(data: bytes) -> DecodedImage:
    return decode(data, probe(data, LIMITS))


def distance(image: DecodedImage, expected: np.ndarray) -> float:
    assert image.rgb.shape == expected.shape
    assert image.rgb.dtype == np.uint8
    assert image.rgb.flags.c_contiguous
    return float(np.abs(image.rgb.astype(np.int16) - expected).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_every_orientation_becomes_upright(fmt: str, orientation: int) -> None:
    stored = samples.as_stored(CORNERS, orientation)
    options = {"jpeg": {"subsampling": 0}, "png": {}, "webp": {"lossless": True}}[fmt]
    image = opened(getattr(samples, fmt)(stored, orientation=orientation, **options))
    assert distance(image, CORNERS) < (2 if fmt == "jpeg" else 1e-9)
    assert image.alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["png", "webp"])
def test_alpha_is_rotated_with_the_image(fmt: str, orientation: int) -> None:
    alpha = np.arange(1, 1 + 32 * 48, dtype=np.uint16).reshape(32, 48).astype(np.uint8)
    stored = samples.as_stored(np.dstack([CORNERS, alpha]), orientation)
    options = {} if fmt == "png" else {"lossless": True, "exact": True}
    image = opened(getattr(samples, fmt)(stored, orientation=orientation, **options))
    assert image.alpha is not None
    assert image.alpha.flags.c_contiguous
    np.testing.assert_array_equal(image.alpha, alpha)
    np.testing.assert_array_equal(image.rgb, CORNERS)


@pytest.mark.parametrize("name", samples.PHOTOS)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 8}])
def test_jpeg_photos(name: samples.Photo, options: dict[str, object]) -> None:
    pixels = samples.photo(name)
    assert distance(opened(samples.jpeg(pixels, **options)), pixels) < 3


def test_gray_jpeg() -> None:
    gray = samples.photo()[:, :, 1]
    image = opened(samples.jpeg(gray))
    assert distance(image, gray[:, :, None].repeat(3, axis=2)) < 2


@pytest.mark.parametrize("make", [samples.jpeg_cmyk, samples.jpeg_ycck, samples.jpeg_cmyk_plain])
def test_cmyk_without_profile(make: object) -> None:
    pixels = samples.photo("coffee")
    black = np.zeros(pixels.shape[:2], np.uint8)
    assert distance(opened(make(np.dstack([255 - pixels, black]))), pixels) < 3  # type: ignore[operator]
    black[:] = 255
    assert opened(make(np.dstack([255 - pixels, black]))).rgb.max() < 6  # type: ignore[operator]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_png_of_every_depth(depth: int, interlaced: bool) -> None:
    top = (1 << depth) - 1
    samples_in = np.random.default_rng(depth).integers(0, top + 1, (11, 13, 1)).astype(np.uint16)
    samples_in[0, 0] = 1  # which tRNS names
    expected = np.round(samples_in * (255 / top)).astype(np.uint8).repeat(3, axis=2)
    image = opened(samples.png_raw(samples_in, depth, 0, interlaced=interlaced))
    np.testing.assert_array_equal(image.rgb, expected)
    assert image.alpha is None
    tagged = samples.png_raw(samples_in, depth, 0, interlaced=interlaced, extra=samples.png_chunk(b"tRNS", b"\x00\x01"))
    image = opened(tagged)
    np.testing.assert_array_equal(image.rgb, expected)
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha, np.where(samples_in[:, :, 0] == 1, 0, 255))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_color_and_alpha_png(color_type: int, channels: int, depth: int, interlaced: bool) -> None:
    top = (1 << depth) - 1
    stored = np.random.default_rng(3).integers(0, top + 1, (11, 13, channels)).astype(np.uint16)
    image = opened(samples.png_raw(stored, depth, color_type, interlaced=interlaced))
    levels = np.round(stored * (255 / top)).astype(np.uint8)
    color = levels[:, :, :3] if channels >= 3 else levels[:, :, :1].repeat(3, axis=2)
    np.testing.assert_array_equal(image.rgb, color)
    if channels == 3:
        assert image.alpha is None
    else:
        assert image.alpha is not None
        np.testing.assert_array_equal(image.alpha, levels[:, :, -1])


@pytest.mark.parametrize("depth", [8, 16])
def test_rgb_png_with_transparent_color(depth: int) -> None:
    stored = np.random.default_rng(4).integers(0, 1 << depth, (6, 7, 3)).astype(np.uint16)
    key = samples.png_chunk(b"tRNS", stored[2, 3].astype(">u2").tobytes())
    image = opened(samples.png_raw(stored, depth, 2, extra=key))
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha, np.where((stored == stored[2, 3]).all(axis=2), 0, 255))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_png_with_and_without_transparency(depth: int, interlaced: bool) -> None:
    colors = 1 << depth
    generator = np.random.default_rng(depth)
    palette = generator.integers(0, 256, (colors, 3), np.uint8)
    index = generator.integers(0, colors, (9, 21, 1), np.uint8)
    plte = samples.png_chunk(b"PLTE", palette.tobytes())
    image = opened(samples.png_raw(index, depth, 3, extra=plte, interlaced=interlaced))
    np.testing.assert_array_equal(image.rgb, palette[index[:, :, 0]])
    assert image.alpha is None
    trns = samples.png_chunk(b"tRNS", b"\x00\x80")  # the first two entries; the others are opaque
    image = opened(samples.png_raw(index, depth, 3, extra=plte + trns, interlaced=interlaced))
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha, np.array([0, 128] + [255] * 254)[index[:, :, 0]])
    np.testing.assert_array_equal(image.rgb, palette[index[:, :, 0]])


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_with_and_without_alpha(lossless: bool) -> None:
    pixels = samples.photo("chelsea")
    assert distance(opened(samples.webp(pixels, lossless=lossless, quality=95)), pixels) < (1e-9 if lossless else 4)
    alpha = samples.disc(*pixels.shape[:2])
    image = opened(samples.webp(np.dstack([pixels, alpha]), lossless=lossless, quality=95, exact=True))
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha, alpha)
    shown = alpha == 255
    assert np.abs(image.rgb[shown].astype(int) - pixels[shown]).mean() < (1e-9 if lossless else 4)


@pytest.mark.parametrize("fmt", ["png", "webp"])
def test_opaque_alpha_channel_becomes_none(fmt: str) -> None:
    pixels = np.dstack([CORNERS, np.full(CORNERS.shape[:2], 255, np.uint8)])
    assert opened(getattr(samples, fmt)(pixels)).alpha is None


@pytest.mark.parametrize(("fmt", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("MPO", {"quality": 95})])
def test_animation_gives_first_frame(fmt: str, options: dict[str, object]) -> None:
    first = samples.photo("astronaut", 64, 64)
    image = opened(samples.animated([first, first[::-1], first[:, ::-1]], fmt, **options))  # type: ignore[arg-type]
    assert distance(image, first) < (4 if fmt == "MPO" else 1e-9)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16_384, 1), (1, 16_384), (7, 3)])
@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_extreme_sizes(fmt: str, width: int, height: int) -> None:
    width, height = (min(side, 16_383 if fmt == "webp" else 16_384) for side in (width, height))
    image = opened(getattr(samples, fmt)(np.full((height, width, 3), 90, np.uint8)))
    assert (image.width, image.height) == (width, height)
    assert distance(image, np.full((height, width, 3), 90, np.uint8)) < 3


def test_fifty_megapixels() -> None:
    pixels = np.full((6250, 8000), 128, np.uint8)
    data = samples.jpeg(pixels, quality=50)
    image = opened(data)
    assert (image.width, image.height) == (8000, 6250)
    assert image.rgb[0, 0].tolist() == image.rgb[-1, -1].tolist() == [128, 128, 128]


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_truncated_pixels_are_corrupt(fmt: str, share: float) -> None:
    pixels = samples.photo()
    data = getattr(samples, fmt)(pixels)
    header = probe(data, LIMITS)
    with pytest.raises(CorruptImage) as caught:
        decode(data[: int(len(data) * share)], header)
    assert "cv2" not in str(caught.value)
    assert "/" not in str(caught.value)


def test_damaged_pixels_are_corrupt() -> None:
    data = bytearray(samples.png(samples.photo()))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(CorruptImage):
        opened(bytes(data))
    data = bytearray(samples.webp(samples.photo(), lossless=True))
    data[60:2000] = bytes(1940)
    with pytest.raises(CorruptImage):
        opened(bytes(data))


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_size_mismatch_is_corrupt(fmt: str) -> None:
    data = getattr(samples, fmt)(CORNERS)
    with pytest.raises(CorruptImage):
        decode(data, ImageHeader(fmt, 49, 32))  # type: ignore[arg-type]


def test_undecodable_cmyk_is_corrupt() -> None:
    data = samples.jpeg_cmyk(np.zeros((64, 64, 4), np.uint8))
    header = probe(data, LIMITS)
    scan = data.index(b"\xff\xda")
    with pytest.raises(CorruptImage):
        decode(data[: scan + 20], header)


def test_input_is_unchanged_and_released() -> None:
    for make in (samples.jpeg, samples.png, samples.webp):
        data = bytearray(make(CORNERS, icc_profile=samples.icc_rgb()))
        before = bytes(data)
        image = opened(data)  # type: ignore[arg-type]
        assert data == before
        data.clear()
        assert image.rgb.any()


def test_highly_compressed_flat_png_is_accepted() -> None:
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    data = samples.png_raw(pixels, 8, 2)
    assert pixels.nbytes / len(data) > 900
    assert not opened(data).rgb.any()


def test_ancillary_png_chunks_are_removed_before_decode() -> None:
    text = samples.png_chunk(b"tEXt", b"Comment\x00hello")
    index = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    colors = np.random.default_rng(5).integers(0, 256, (16, 3), np.uint8)
    palette = samples.png_chunk(b"PLTE", colors.tobytes()) + text + samples.png_chunk(b"tRNS", b"\x07")
    image = opened(samples.png_raw(index, 4, 3, extra=text + palette + text))
    np.testing.assert_array_equal(image.rgb, colors[index[:, :, 0]])
    assert image.alpha is not None
    assert image.alpha[0, 0] == 7


def test_metadata_does_not_reach_pillow() -> None:
    inks = np.full((16, 16, 4), 90, np.uint8)
    data = samples.jpeg_ycck(inks)
    comment = b"\xff\xfe\x00\x10" + bytes(14)
    broken_exif = b"\xff\xe1\x00\x0cExif\x00\x00MM\x00*"
    plain, dressed = opened(data), opened(data[:2] + comment + broken_exif + data[2:])
    np.testing.assert_array_equal(plain.rgb, dressed.rgb)
