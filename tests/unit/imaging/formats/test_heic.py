"""HEIC input: pixels are compared with those of libheif and with known samples; containers are checked alone."""

from __future__ import annotations

import platform
import struct
import sys
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from clearcut.errors import ClearcutError, CorruptImage, SuspiciousStructure, TooManyPixels, UnsupportedFormat
from clearcut.imaging.decode import decode
from clearcut.imaging.formats.heif import heic, hevc_decoder, hevc_input, hevc_library, ycbcr
from clearcut.imaging.formats.heif.hevc_process import protocol
from clearcut.imaging.formats.heif.images import read_image
from clearcut.imaging.formats.heif.still import header_of
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ImageHeader, ProbeLimits
from tests.support import heif_files, hevc_images, samples

LIMITS = ProbeLimits()
PHOTO = samples.photo("coffee", 60, 40)
CORNERS = samples.corners()
LIBHEIF = Path(__file__).parent / "heic"
"""Files that libheif and x265 wrote, and their pixels that libheif decoded (README.md there)."""

needs_decoder = pytest.mark.skipif(hevc_library.find_library() is None, reason="this system has no HEIC decoder")


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="for Linux on x86-64")
def test_locked_packages_contain_the_decoder():
    assert hevc_library.find_library() is not None


def header(data: bytes, limits: ProbeLimits = LIMITS) -> ImageHeader:
    """Read the header as ``probe`` does on a server with a decoder."""
    view = memoryview(data)
    return header_of("heic", view, read_image(view, limits, heic.CODEC))


def read(data: bytes) -> DecodedImage:
    return decode(data, probe(data, LIMITS))


def gray(depth: int = 8) -> bytes:
    plane = PHOTO[:, :, 0].astype(np.uint16) << depth - 8
    file = heif_files.File()
    file.add_image(hevc_images.encode([plane], depth))
    return file.build()


def deep(depth: int) -> bytes:
    planes = [plane.astype(np.uint16) << depth - 8 for plane in hevc_images.from_rgb(PHOTO)]
    file = heif_files.File()
    file.add_image(hevc_images.encode(planes, depth), heif_files.nclx())
    return file.build()


CASES = {
    "even": lambda: heif_files.heic(PHOTO),
    "odd": lambda: heif_files.heic(samples.photo("coffee", 61, 41)),
    "1 x 1": lambda: heif_files.heic(PHOTO[:1, :1]),
    "alpha": lambda: heif_files.heic(PHOTO, alpha=samples.disc(40, 60)),
    "tiles": lambda: heif_files.heic_grid(PHOTO, 32),
    "odd tiles": lambda: heif_files.heic_grid(samples.photo("coffee", 61, 41), 32),
}


def expected_rgb(rgb: np.ndarray) -> np.ndarray:
    """Return the exact pixels of the planes that are stored for an image, with chroma interpolated between samples."""
    luma, cb, cr = (plane.astype(np.float64) for plane in hevc_images.from_rgb(rgb))
    height, width = rgb.shape[:2]
    cb, cr = (_interpolated(plane, height, width) - 128 for plane in (cb, cr))
    red, green, blue = luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb
    return np.clip(np.stack([red, green, blue], axis=2), 0, 255)


def _interpolated(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    for axis, size in ((0, height), (1, width)):
        at = np.clip((np.arange(size) + 0.5) / 2 - 0.5, 0, plane.shape[axis] - 1)
        low = at.astype(int)
        high = np.minimum(low + 1, plane.shape[axis] - 1)
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        plane = plane.take(low, axis) * (1 - share) + plane.take(high, axis) * share
    return plane


@needs_decoder
@pytest.mark.parametrize("path", sorted(LIBHEIF.glob("*.heic")), ids=lambda path: path.stem)
def test_pixels_equal_libheif(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ycbcr, "_INTERPOLATION", cv2.INTER_NEAREST)  # as libheif
    image = read(path.read_bytes())
    expected = np.asarray(Image.open(path.with_suffix(".png"))).astype(int)
    assert np.abs(image.rgb - expected[:, :, :3]).max() <= 1
    assert (image.alpha is not None) == (path.stem == "alpha")
    if image.alpha is not None:
        np.testing.assert_array_equal(image.alpha, expected[:, :, 3])


@needs_decoder
@pytest.mark.parametrize("name", CASES)
def test_pixels_equal_the_stored_samples(name: str) -> None:
    image = read(CASES[name]())
    width, height = {"odd": (61, 41), "odd tiles": (61, 41), "1 x 1": (1, 1)}.get(name, (60, 40))
    rgb = PHOTO[:1, :1] if name == "1 x 1" else samples.photo("coffee", width, height)
    assert image.rgb.shape == (height, width, 3)
    assert np.abs(image.rgb - expected_rgb(rgb)).max() <= 2
    assert (image.alpha is not None) == (name == "alpha")
    if image.alpha is not None:
        np.testing.assert_array_equal(image.alpha, samples.disc(40, 60))


@needs_decoder
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_deep_samples_and_gray_become_8_bits(depth: int) -> None:
    np.testing.assert_allclose(read(gray(depth)).rgb, PHOTO[:, :, :1].repeat(3, axis=2), atol=1)
    assert np.abs(read(deep(depth)).rgb - expected_rgb(PHOTO)).max() <= 2.5


@needs_decoder
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [None, 0, 1])
@pytest.mark.parametrize("rotation_first", [True, False])
def test_rotation_is_applied_once(turns: int, mirror: int | None, rotation_first: bool) -> None:
    """The EXIF block has another orientation, which must not count."""
    steps = [("irot", turns)] + ([("imir", mirror)] if mirror is not None else [])
    steps = steps if rotation_first else steps[::-1]
    file = heif_files.File()
    properties = [getattr(heif_files, name)(value) for name, value in steps]
    main = file.add_image(hevc_images.encode(hevc_images.from_rgb(CORNERS)), heif_files.nclx(), *properties)
    exif = file.add(b"Exif", struct.pack(">I", 0) + samples.exif(3))
    file.refer(b"cdsc", exif, main)
    expected = read(heif_files.heic(CORNERS)).rgb
    for name, value in steps:  # ISO/IEC 23008-12: turns counterclockwise; 0 swaps top and bottom
        expected = np.rot90(expected, value) if name == "irot" else np.flip(expected, value)
    np.testing.assert_array_equal(read(file.build()).rgb, expected)


@needs_decoder
def test_wide_gamut_becomes_srgb() -> None:
    stored = Image.fromarray(read(heif_files.heic(PHOTO)).rgb)
    source = ImageCms.ImageCmsProfile(BytesIO(samples.icc_rgb(samples.P3_PRIMARIES)))
    expected = ImageCms.profileToProfile(stored, source, ImageCms.createProfile("sRGB"), renderingIntent=1)
    found = read(heif_files.heic(PHOTO, heif_files.nclx(12))).rgb
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 2


@needs_decoder
def test_premultiplied_color_is_divided_by_alpha() -> None:
    alpha = np.full((40, 60), 128, np.uint8)
    data = heif_files.heic(PHOTO // 2, alpha=alpha, premultiplied=True)
    image = read(data)
    assert image.alpha is not None
    assert np.abs(image.rgb - np.minimum(expected_rgb(PHOTO // 2) * 255 / 128, 255)).max() <= 4


@needs_decoder
@pytest.mark.parametrize("missing", [1, 3, 6, 11])
def test_missing_blocks_are_refused(missing: int) -> None:
    file = heif_files.File()
    planes = hevc_images.from_rgb(samples.photo("coffee", 64, 48))
    file.add_image(hevc_images.encode(planes, missing_blocks=missing), heif_files.nclx())
    with pytest.raises(CorruptImage):
        read(file.build())


@needs_decoder
@pytest.mark.parametrize("missing", [1, 3, 6, 11])
@pytest.mark.parametrize("depth", [8, 10])
def test_missing_gray_blocks_are_refused(missing: int, depth: int) -> None:
    plane = samples.photo("coffee", 64, 48)[:, :, 0].astype(np.uint16) << depth - 8
    file = heif_files.File()
    file.add_image(hevc_images.encode([plane], depth, missing_blocks=missing))
    with pytest.raises(CorruptImage):
        read(file.build())


@needs_decoder
@pytest.mark.parametrize("level", [0, 254])
def test_missing_alpha_blocks_are_refused(level: int) -> None:
    """Transparent alpha has the same samples as a missing block."""
    alpha = np.full((48, 64), level, np.uint8)
    rgb = samples.photo("coffee", 64, 48)
    whole, cut = heif_files.File(), heif_files.File()
    for file, missing in ((whole, 0), (cut, 2)):
        main = file.add_image(hevc_images.encode(hevc_images.from_rgb(rgb)), heif_files.nclx())
        extra = file.add_image(
            hevc_images.encode([alpha], missing_blocks=missing), heif_files.full(b"auxC", heif_files.ALPHA)
        )
        file.refer(b"auxl", extra, main)
    np.testing.assert_array_equal(read(whole.build()).alpha, alpha)
    with pytest.raises(CorruptImage):
        read(cut.build())


@needs_decoder
@pytest.mark.parametrize("missing", [0, 1, 3])
@pytest.mark.parametrize("size", [(64, 48), (50, 34)])
def test_missing_blocks_of_color_alpha_are_refused(missing: int, size: tuple[int, int]) -> None:
    """Alpha can be a color image too. At 50 x 34, two columns and two rows of the last blocks are visible."""
    rgb = samples.photo("coffee", *size)
    alpha = hevc_images.from_rgb(np.full_like(rgb, 254))
    file = heif_files.File()
    main = file.add_image(hevc_images.encode(hevc_images.from_rgb(rgb)), heif_files.nclx())
    coded = hevc_images.encode(alpha, missing_blocks=missing)
    file.refer(b"auxl", file.add_image(coded, heif_files.full(b"auxC", heif_files.ALPHA)), main)
    if missing:
        with pytest.raises(CorruptImage):
            read(file.build())
    else:
        np.testing.assert_array_equal(read(file.build()).alpha, 254)


@needs_decoder
@pytest.mark.parametrize("depth", [8, 10])
def test_missing_blocks_are_refused_without_a_matrix(depth: int) -> None:
    """With matrix 0 the planes are green, blue and red, so black has zeros in each plane, as missing blocks have."""
    black = [np.zeros((48, 64), np.uint16), *[np.zeros((24, 32), np.uint16)] * 2]
    gray = [plane + (90 << depth - 8) for plane in black]
    for planes, level in ((black, 0), (gray, 90)):
        for missing in (0, 1, 6):
            file = heif_files.File()
            coded = hevc_images.encode(planes, depth, missing_blocks=missing)
            file.add_image(coded, heif_files.nclx(1, 13, 0))
            if missing:
                with pytest.raises(CorruptImage):
                    read(file.build())
            else:
                np.testing.assert_array_equal(read(file.build()).rgb, level)


@needs_decoder
@pytest.mark.parametrize("size", [(64, 48), (61, 41), (1, 1)])
def test_black_gray_images_are_complete(size: tuple[int, int]) -> None:
    for level in (0, 16, 255):
        file = heif_files.File()
        file.add_image(hevc_images.encode([np.full(size[::-1], level, np.uint8)]))
        np.testing.assert_array_equal(read(file.build()).rgb, level)


@needs_decoder
def test_black_and_saturated_images_are_complete() -> None:
    for color in ((0, 0, 0), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 0), (0, 0, 255)):
        rgb = np.full((48, 64, 3), color, np.uint8)
        assert np.abs(read(heif_files.heic(rgb)).rgb.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize("place", ["middle", "end"])
def test_zeros_within_the_data_are_refused(place: str) -> None:
    data = bytearray(LIBHEIF.joinpath("420.heic").read_bytes())
    start = data.index(b"mdat") + 60 if place == "middle" else len(data) - 300
    data[start : start + 300] = bytes(300)
    with pytest.raises(CorruptImage, match="incomplete"):
        header(bytes(data))


def test_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic, "find_library", lambda: None)
    with pytest.raises(UnsupportedFormat, match=r"no HEIC decoder \(extra heif.*export it as JPEG"):
        probe(heif_files.heic(CORNERS), LIMITS)


@needs_decoder
def test_decoder_that_cannot_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heif_files.heic(CORNERS)
    found = probe(data, LIMITS)
    monkeypatch.setattr(heic, "find_library", lambda: "/nonexistent/libavcodec.so")
    with pytest.raises(UnsupportedFormat, match=r"cannot start its HEIC decoder.*export it as JPEG"):
        decode(data, found)


@needs_decoder
def test_decoder_without_memory_or_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heif_files.heic(CORNERS)
    found = probe(data, LIMITS)
    with monkeypatch.context() as patched:
        patched.setattr(hevc_input, "_BASE_MEMORY", 0)
        patched.setattr(hevc_input, "_MEMORY_PER_PIXEL", 0)
        with pytest.raises(CorruptImage):
            decode(data, found)
    monkeypatch.setattr(hevc_decoder, "_TIMEOUT_MS", 0)
    with pytest.raises(CorruptImage):
        decode(data, found)


@pytest.mark.parametrize(
    ("name", "usable"),
    [("libavcodec-1a.so.62.28.101", True), ("libavcodec.so.62.40.1", True), ("libavcodec-1a.so.62.28.100", False),
     ("libavcodec-1a.so.61.19.100", False), ("libavcodec-1a.so.63.0.0", False), ("libavcodec-1a.so.62", False)],
)  # fmt: skip
def test_only_tested_versions_of_the_decoder_are_used(name: str, usable: bool, tmp_path: Path) -> None:
    folder = tmp_path / "opencv_python_headless.libs"
    folder.mkdir()
    folder.joinpath(name).touch()
    assert hevc_library.newest_library(tmp_path) == (str(folder / name) if usable else None)


def test_headers() -> None:
    assert header(CASES["alpha"]()).has_alpha
    found = header(heif_files.heic_grid(PHOTO, 32, heif_files.nclx(), heif_files.irot(1)))
    assert (found.width, found.height, found.orientation, found.upright_size) == (60, 40, 8, (40, 60))
    assert header(CASES["odd"]()).pixels == 61 * 41


def test_every_truncation_is_refused() -> None:
    data = heif_files.heic_grid(CORNERS[:16, :16], 16)
    for length in range(12, len(data)):
        with pytest.raises(ClearcutError):
            header(data[:length])


def test_size_limits() -> None:
    with pytest.raises(TooManyPixels):
        header(CASES["even"](), ProbeLimits(max_pixels=2399))


def second_configuration() -> bytes:
    """A parameter set within the image data, where the decoder would use it."""
    image = hevc_images.encode(hevc_images.from_rgb(CORNERS))
    unit = b"\x42\x01" + bytes(20)
    file = heif_files.File()
    size = heif_files.ispe(48, 32)
    data = struct.pack(">I", len(unit)) + unit + image.data
    file.add(b"hvc1", data, heif_files.box(b"hvcC", image.configuration), size)
    return file.build()


def test_second_configuration_is_refused() -> None:
    with pytest.raises(SuspiciousStructure):
        header(second_configuration())


@pytest.mark.parametrize("kind", [b"unci", b"iovl", b"iden", b"av01", b"jpeg", b"mski"])
def test_other_kinds_of_images_are_named(kind: bytes) -> None:
    data = heif_files.heic(CORNERS).replace(b"hvc1", kind)
    with pytest.raises(UnsupportedFormat, match=kind.decode()):
        header(data)


def test_decoder_gets_only_the_image() -> None:
    """Other items, units of other layers, and messages between the slices stay outside."""
    image = hevc_images.encode(hevc_images.from_rgb(CORNERS))
    message, layer = b"\x4e\x01secret", b"\x26\x09layer"
    extra = b"".join(struct.pack(">I", len(unit)) + unit for unit in (message, layer))
    file = heif_files.File()
    size = heif_files.ispe(48, 32)
    main = file.add(b"hvc1", extra + image.data, heif_files.box(b"hvcC", image.configuration), size)
    file.refer(b"cdsc", file.add(b"mime", b"secret"), main)
    file.add(b"unci", b"other codec", heif_files.ispe(9, 9))
    view = memoryview(file.build())
    source = hevc_input.prepare(view, read_image(view, LIMITS, heic.CODEC)).source
    assert not any(word in source for word in (b"secret", b"layer", b"unci", b"other codec", b"hvcC"))
    (coded,) = protocol.unpack_images(memoryview(source))
    assert source[coded.offset :].count(b"\x00\x00\x00\x01") == 4  # three parameter sets and one slice


def test_start_code_within_a_unit_is_refused() -> None:
    """It would start a unit that was not checked."""
    image = hevc_images.encode(hevc_images.from_rgb(CORNERS))
    unit = image.data[4:] + b"\x00\x00\x01\x42\x01" + bytes(20)
    file = heif_files.File()
    size = heif_files.ispe(48, 32)
    file.add(b"hvc1", struct.pack(">I", len(unit)) + unit, heif_files.box(b"hvcC", image.configuration), size)
    with pytest.raises(SuspiciousStructure):
        header(file.build())
