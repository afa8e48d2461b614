"""HEIC input: containers are checked without a decoder; pixels are compared with libheif, and with known samples."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from clearcut.errors import ClearcutError, CorruptImage, SuspiciousStructure, TooManyPixels, UnsupportedFormat
from clearcut.imaging.decode import decode
from clearcut.imaging.formats.heif import heic
from clearcut.imaging.formats.heif.images import read_image
from clearcut.imaging.formats.heif.still import header_of
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ImageHeader, ProbeLimits
from tests.support import heif_files, hevc_images, samples

LIMITS = ProbeLimits()
PHOTO = samples.photo("coffee", 60, 40)
CORNERS = samples.corners()


def header(data: bytes, limits: ProbeLimits = LIMITS) -> ImageHeader:
    """Read the header as ``probe`` does on a server with a decoder."""
    view = memoryview(data)
    return header_of("heic", view, read_image(view, limits, heic.CODEC))


@pytest.fixture
def libheif(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module pi_heif of any version: the files of these tests are our own."""
    module = pytest.importorskip("pi_heif", reason="pi_heif is not installed")
    monkeypatch.setattr(heic, "MIN_LIBHEIF", (1, 0, 0))
    monkeypatch.setattr(heic, "MIN_LIBDE265", (1, 0, 0))
    return module


def by_libheif(module: Any, data: bytes) -> np.ndarray:
    """Decode with libheif directly; the copy is made while the file exists, because it owns the memory."""
    file = module.open_heif(BytesIO(data))
    return np.array(file)


def gray(depth: int = 8) -> bytes:
    plane = PHOTO[:, :, 0].astype(np.uint16) << depth - 8
    file = heif_files.File()
    file.add_image(hevc_images.encode([plane], depth))
    return file.build()


def ten_bits() -> bytes:
    planes = [plane.astype(np.uint16) * 4 for plane in hevc_images.from_rgb(PHOTO)]
    file = heif_files.File()
    file.add_image(hevc_images.encode(planes, 10), heif_files.nclx())
    return file.build()


CASES = {
    "even": lambda: heif_files.heic(PHOTO),
    "odd": lambda: heif_files.heic(samples.photo("coffee", 61, 41)),
    "1 x 1": lambda: heif_files.heic(PHOTO[:1, :1]),
    "alpha": lambda: heif_files.heic(PHOTO, alpha=samples.disc(40, 60)),
    "tiles": lambda: heif_files.heic_grid(PHOTO, 32),
    "gray": gray,
    "10 bits": ten_bits,
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_equal_libheif(name: str, libheif: Any) -> None:
    data = CASES[name]()
    image = decode(data, probe(data, LIMITS))
    expected = by_libheif(libheif, data)
    expected = expected if expected.ndim == 3 else expected[:, :, None].repeat(3, axis=2)
    np.testing.assert_array_equal(image.rgb, expected[:, :, :3])
    assert (image.alpha is not None) == (name == "alpha")
    if image.alpha is not None:
        np.testing.assert_array_equal(image.alpha, samples.disc(40, 60))


def test_pixels_equal_the_stored_samples(libheif: Any) -> None:
    image = decode(heif_files.heic(CORNERS), probe(heif_files.heic(CORNERS), LIMITS))
    assert np.abs(image.rgb.astype(int) - CORNERS).max() <= 2


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("order", ["", "m0", "m1", "0m", "1m"])
def test_rotation_is_applied_once(turns: int, order: str, libheif: Any) -> None:
    """The EXIF block has another orientation, which must not count."""
    rotation = [heif_files.irot(turns)]
    mirror = [heif_files.imir(int(order.strip("m")))] if order else []
    properties = [*mirror, *rotation] if order.endswith("m") else [*rotation, *mirror]
    file = heif_files.File()
    main = file.add_image(hevc_images.encode(hevc_images.from_rgb(PHOTO)), heif_files.nclx(), *properties)
    exif = file.add(b"Exif", struct.pack(">I", 0) + samples.exif(3))
    file.refer(b"cdsc", exif, main)
    data = file.build()
    image = decode(data, probe(data, LIMITS))
    np.testing.assert_array_equal(image.rgb, by_libheif(libheif, data))


def test_wide_gamut_becomes_srgb(libheif: Any) -> None:
    from PIL import Image, ImageCms

    data = heif_files.heic(PHOTO, heif_files.nclx(12))
    stored = Image.fromarray(by_libheif(libheif, data))
    source = ImageCms.ImageCmsProfile(BytesIO(samples.icc_rgb(samples.P3_PRIMARIES)))
    expected = ImageCms.profileToProfile(stored, source, ImageCms.createProfile("sRGB"), renderingIntent=1)
    assert np.abs(decode(data, probe(data, LIMITS)).rgb.astype(int) - np.asarray(expected)).max() <= 2


def test_missing_or_old_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic, "decoder", lambda: None)
    with pytest.raises(UnsupportedFormat, match=r"HEIC decoder .*libheif 1\.23\.7.*export it as JPEG"):
        probe(heif_files.heic(CORNERS), LIMITS)


@pytest.mark.parametrize(
    ("libheif_version", "libde265_version", "usable"),
    [("1.23.0", "1.1.3", False), ("1.23.6", "1.1.3", False), ("1.23.7", "1.1.0", False), ("1.23.7", "1.1.3", True),
     ("1.24.0", "1.2.0", True), ("x", "1.1.3", False), ("1.23.7", "?", False)],
)  # fmt: skip
def test_old_libheif_is_not_used(
    libheif_version: str, libde265_version: str, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Module:
        @staticmethod
        def libheif_version() -> str:
            return libheif_version

        @staticmethod
        def libheif_info() -> dict[str, dict[str, str]]:
            return {"decoders": {"libde265": f"libde265 HEVC decoder, version {libde265_version}"}}

    monkeypatch.setattr(heic.importlib, "import_module", lambda _: Module)
    assert (heic.decoder() is not None) == usable


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


def lying_configuration() -> bytes:
    """A parameter set of 16384 x 3000 pixels in an image that declares 48 x 32."""
    image = hevc_images.encode(hevc_images.from_rgb(CORNERS), coded_size=(16_384, 3_008))
    file = heif_files.File()
    file.add_image(image, heif_files.nclx())
    return file.build()


def second_configuration() -> bytes:
    """A parameter set within the image data, where the decoder would use it."""
    image = hevc_images.encode(hevc_images.from_rgb(CORNERS))
    unit = b"\x42\x01" + bytes(20)
    file = heif_files.File()
    size = heif_files.ispe(48, 32)
    data = struct.pack(">I", len(unit)) + unit + image.data
    file.add(b"hvc1", data, heif_files.box(b"hvcC", image.configuration), size)
    return file.build()


def giant_tile() -> bytes:
    file = heif_files.File()
    main = file.add(b"grid", heif_files.grid_data(1, 1, 16, 16), heif_files.ispe(16, 16))
    tile = file.add(b"hvc1", b"", heif_files.box(b"hvcC", b""), heif_files.ispe(7000, 7000))
    file.refer(b"dimg", main, tile)
    return file.build()


def many_tiles() -> bytes:
    file = heif_files.File()
    main = file.add(b"grid", heif_files.grid_data(256, 256, 16, 16), heif_files.ispe(16, 16))
    tile = file.add_image(hevc_images.encode(hevc_images.from_rgb(CORNERS[:16, :16])))
    file.refer(b"dimg", main, *[tile] * 65_535)
    return file.build()


def item_flood() -> bytes:
    file = heif_files.File()
    file.add_image(hevc_images.encode(hevc_images.from_rgb(CORNERS)), heif_files.nclx())
    file.items += [(b"hvc1", b"", [])] * 3_000
    return file.build()


def grid_of_grids() -> bytes:
    file = heif_files.File()
    main = file.add(b"grid", heif_files.grid_data(1, 1, 48, 32), heif_files.ispe(48, 32))
    file.refer(b"dimg", main, main)
    return file.build()


@pytest.mark.parametrize(
    "make", [lying_configuration, second_configuration, giant_tile, many_tiles, item_flood], ids=lambda f: f.__name__
)
def test_hostile_structures_are_refused(make: Any) -> None:
    with pytest.raises(SuspiciousStructure):
        header(make())


@pytest.mark.parametrize("kind", [b"unci", b"iovl", b"iden", b"av01", b"jpeg", b"mski"])
def test_other_kinds_of_images_are_named(kind: bytes) -> None:
    data = heif_files.heic(CORNERS).replace(b"hvc1", kind)
    with pytest.raises(UnsupportedFormat, match=kind.decode()):
        header(data)


def test_grid_that_contains_itself_is_refused() -> None:
    with pytest.raises(CorruptImage):
        header(grid_of_grids())


def test_decoder_gets_only_the_image() -> None:
    file = heif_files.File()
    main = file.add_image(hevc_images.encode(hevc_images.from_rgb(CORNERS)), heif_files.nclx(), heif_files.irot(1))
    file.refer(b"cdsc", file.add(b"mime", b"secret"), main)
    file.add(b"unci", b"other codec", heif_files.ispe(9, 9))
    view = memoryview(file.build())
    rebuilt = heic.rebuild(view, read_image(view, LIMITS, heic.CODEC), heic.CODEC, b"heic")
    assert not any(word in rebuilt for word in (b"secret", b"unci", b"irot", b"other codec"))
    assert header(rebuilt) == ImageHeader("heic", 48, 32)
