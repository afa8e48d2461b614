from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from clearcut.errors import CorruptImage, SuspiciousStructure, TooManyPixels, UnsupportedFormat
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ImageHeader, ProbeLimits
from tests.support import samples
from tests.support.bombs import jpeg_scan_bomb

LIMITS = ProbeLimits()
PIXELS = samples.corners(48, 32)
TGA = b"\x00\x00\x02" + bytes(9) + b"\x40\x00\x40\x00\x18\x00" + bytes(64)


def _patched(data: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    at = data.index(marker) + offset
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_header_of_every_format_and_orientation(fmt: str, orientation: int) -> None:
    data = getattr(samples, fmt)(PIXELS, orientation=orientation)
    header = probe(data, LIMITS)
    assert header == ImageHeader(fmt, 48, 32, orientation=orientation)
    assert header.upright_size == ((32, 48) if orientation >= 5 else (48, 32))


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_any_buffer_type_is_accepted_and_released(kind: type) -> None:
    data = kind(samples.jpeg(PIXELS))
    assert probe(data, LIMITS).width == 48
    if isinstance(data, bytearray):
        data.append(0)  # a buffer that is still exported could not grow


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (samples.jpeg(PIXELS, progressive=True), ImageHeader("jpeg", 48, 32)),
        (samples.jpeg(PIXELS[:, :, 0]), ImageHeader("jpeg", 48, 32)),
        (samples.jpeg_cmyk(np.zeros((5, 9, 4), np.uint8)), ImageHeader("jpeg", 9, 5)),
        (samples.png(np.zeros((5, 9, 4), np.uint8)), ImageHeader("png", 9, 5, has_alpha=True)),
        (samples.png_raw(np.zeros((5, 9, 2), np.uint16), 16, 4), ImageHeader("png", 9, 5, has_alpha=True)),
        (
            samples.png_raw(np.zeros((5, 9, 1), np.uint8), 8, 0, extra=samples.png_chunk(b"tRNS", b"\0\0")),
            ImageHeader("png", 9, 5, has_alpha=True),
        ),
        (samples.webp(PIXELS, lossless=True), ImageHeader("webp", 48, 32)),
        (samples.webp(np.zeros((5, 9, 4), np.uint8)), ImageHeader("webp", 9, 5, has_alpha=True)),
        (samples.webp(np.zeros((5, 9, 4), np.uint8), lossless=True), ImageHeader("webp", 9, 5, has_alpha=True)),
        (samples.animated([PIXELS, PIXELS[::-1]], "PNG"), ImageHeader("png", 48, 32, frames=2)),
        (samples.animated([PIXELS, PIXELS[::-1]], "MPO"), ImageHeader("jpeg", 48, 32, frames=2)),
    ],
)
def test_header_of_format_variants(data: bytes, header: ImageHeader) -> None:
    assert probe(data, LIMITS) == header


def test_animated_webp_frames_are_counted() -> None:
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (0, 90, 180)]
    header = probe(samples.animated(frames, "WEBP", lossless=True), LIMITS)
    assert (header.format, header.width, header.height, header.frames) == ("webp", 8, 8, 3)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "an empty file"),
        (b"BM\x46\x00\x00\x00", "BMP with an unknown header"),
        (b"\x00\x00\x00\x20ftypisom\x00", "MP4 video"),
        (b"\x1aE\xdf\xa3\x01", "Matroska or WebM video"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "AVI video"),
        (b"%PDF-1.7", "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'<?xml version="1.0"?><note/>', "XML"),
        (b"\xef\xbb\xbf  <!DOCTYPE HTML><html>", "HTML"),
        (b"PK\x03\x04\x14\x00", "ZIP archive"),
        (b"\x7fELF\x02\x01", "ELF executable"),
        (b"MZ\x90\x00", "Windows executable"),
        (b'{"image": "https://example.com/a.jpg"}', "JSON"),
        (b"https://example.com/a.jpg", "a URL"),
        (b"data:image/png;base64,iVBORw0KGgo=", "a data: URL"),
        (b"hello there", "text"),
        (bytes(range(200, 250)), "unknown data"),
        (b"\xff\xd8", "unknown data"),
        (TGA, "TGA"),
        (TGA[:2] + b"\x0a" + TGA[3:], "TGA"),
        (b"\x05\x00\x03" + bytes(9) + b"\x40\x00\x40\x00\x08\x00", "TGA"),
        (b"\x00\x01\x01\x00\x00\x00\x01\x18" + bytes(4) + b"\x40\x00\x40\x00\x08\x00", "TGA"),
        (b"\xfe" * 40 + b"TRUEVISION-XFILE.\x00", "TGA"),
        (b"\x00\x00\x02\x00\x01\x00\x20\x20\x00\x00\x05\x00\x05\x00\xa8\x10\x00\x00", "CUR"),
        (b"P6\n4 4\n255\n" + bytes(range(48)), "PPM"),
        (b"P3 1 1 255 0 0 0", "PPM"),
        (b"P5\n# comment\n4 4\n255\n" + bytes(16), "PGM"),
        (b"P1\n1 1\n0", "PBM"),
        (b"P7\nWIDTH 1\n", "PAM"),
        (b"Pf\n1 1\n-1.0\n", "PFM"),
        (b"\x0a\x05\x01\x08" + bytes(60), "PCX"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\xff\xd8\xff\xf7\x00\x0b\x08" + bytes(20), "JPEG-LS"),
        (b"gimp xcf v011\x00", "GIMP document"),
        (b"DDS |\x00\x00\x00", "DDS texture"),
        (b"\x89PNG\r\n", "unknown data"),
    ],
)
def test_unsupported_types_are_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        probe(data, LIMITS)
    assert caught.value.detected == name
    assert "JPEG, PNG, TIFF, WebP" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (TGA, "export the image as JPEG or PNG"),
        (b"8BPS\x00\x01", "export the image as JPEG or PNG"),
        (b"%PDF-1.7", "export the page as JPEG or PNG"),
        (b"\x1aE\xdf\xa3", "send one frame as JPEG or PNG"),
        (b"PK\x03\x04", "send the image file itself"),
        (b"https://example.com/a.jpg", "send the image file itself"),
        (_patched(samples.jpeg(PIXELS), b"\xff\xc0", 4, b"\x0c"), "export the image as an 8-bit JPEG"),
    ],
)
def test_error_says_how_to_get_an_accepted_file(data: bytes, advice: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        probe(data, LIMITS)
    assert f"; {advice}. Accepted: " in str(caught.value)


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_every_truncated_header_is_corrupt(fmt: str) -> None:
    data = getattr(samples, fmt)(PIXELS, orientation=6)
    signature = {"jpeg": 3, "png": 8, "webp": 12}[fmt]
    end = {"jpeg": data.rfind(b"\xff\xda") + 13, "png": data.find(b"IDAT") + 4, "webp": len(data)}[fmt]
    for length in range(signature, end):
        with pytest.raises(CorruptImage):
            probe(data[:length], LIMITS)


def test_trailing_bytes_are_ignored() -> None:
    for data in (samples.jpeg(PIXELS), samples.png(PIXELS), samples.webp(PIXELS)):
        assert probe(data + b"\xff\xda" * 500 + b"<?php", LIMITS) == probe(data, LIMITS)


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_too_many_pixels_names_size_and_limit(fmt: str) -> None:
    data = getattr(samples, fmt)(np.zeros((30, 40, 3), np.uint8))
    assert probe(data, ProbeLimits(max_pixels=1200, max_side=40)).pixels == 1200
    with pytest.raises(TooManyPixels, match=r"40 x 30.*the maximum is 0\.001199"):
        probe(data, ProbeLimits(max_pixels=1199))
    with pytest.raises(TooManyPixels, match="40 x 30 pixels; the longest side accepted is 39 pixels"):
        probe(data, ProbeLimits(max_side=39))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (_patched(samples.jpeg(PIXELS), b"\xff\xc0", 5, b"\0\0"), CorruptImage),  # height 0
        (_patched(samples.jpeg(PIXELS), b"\xff\xc0", 4, b"\x0c"), UnsupportedFormat),  # 12 bits
        (_patched(samples.jpeg(PIXELS), b"\xff\xc0", 1, b"\xc3"), UnsupportedFormat),  # lossless
        (_patched(samples.jpeg(PIXELS), b"\xff\xc0", 9, b"\x02"), CorruptImage),  # two components
        (_patched(samples.jpeg(PIXELS), b"\xff\xc0", 1, b"\xfe"), CorruptImage),  # no frame header at all
        (_patched(samples.jpeg(PIXELS), b"\xff\xdb", 1, b"\x02"), CorruptImage),  # reserved marker
        (_patched(samples.jpeg(PIXELS), b"\xff\xdb", 2, b"\0\1"), CorruptImage),  # length below two
        (b"\xff\xd8\xff\xd9", CorruptImage),
        (_patched(samples.webp(PIXELS), b"VP8 ", 8, b"\x01"), CorruptImage),  # not a key frame
        (_patched(samples.webp(PIXELS), b"VP8 ", 11, b"\0"), CorruptImage),  # no start code
        (_patched(samples.webp(PIXELS), b"VP8 ", 14, b"\0\0"), CorruptImage),  # width 0
        (_patched(samples.webp(PIXELS, lossless=True), b"VP8L", 8, b"\0"), CorruptImage),
        (samples.png_raw(np.zeros((4, 4), np.uint8), 8, 5), CorruptImage),  # no such color type
        (samples.png_raw(np.zeros((4, 4), np.uint8), 4, 2), CorruptImage),  # RGB has no 4 bits
        (samples.png_raw(np.zeros((0, 4, 1), np.uint8), 8, 0), CorruptImage),  # height 0
    ],
)
def test_contradicting_headers_are_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        probe(data, LIMITS)


def test_thumbnail_and_second_image_are_not_scans() -> None:
    inner = samples.jpeg(np.zeros((8, 8, 3), np.uint8), progressive=True)
    data = samples.jpeg(PIXELS, progressive=True)
    segment = b"\xff\xe2" + struct.pack(">H", len(inner) + 2) + inner
    assert probe(data[:2] + segment + data[2:] + inner, ProbeLimits(max_scans=10)).width == 48


def test_jpeg_with_too_little_data_is_refused() -> None:
    data = bytearray(samples.jpeg(samples.photo(width=64, height=64)))
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, 7000, 7000)
    with pytest.raises(CorruptImage, match="too little data"):
        probe(data, ProbeLimits())


def test_large_image_may_have_fewer_scans() -> None:
    data = jpeg_scan_bomb(scans=30, side=64)
    probe(data, ProbeLimits(max_pixels=64 * 64 * 4))
    with pytest.raises(SuspiciousStructure, match="more than 16 scans"):
        probe(data, ProbeLimits(max_pixels=64 * 64))


def test_scan_limit_is_exact() -> None:
    data = samples.jpeg(PIXELS, progressive=True)
    scans = data.count(b"\xff\xda")
    assert probe(data, ProbeLimits(max_scans=scans)).width == 48
    with pytest.raises(SuspiciousStructure, match=f"more than {scans - 1} scans"):
        probe(data, ProbeLimits(max_scans=scans - 1))


def test_restart_markers_are_not_segments() -> None:
    data = samples.jpeg(samples.photo(), restart_marker_blocks=1)
    assert data.count(b"\xff\xd0") > 100
    assert probe(data, ProbeLimits(max_segments=20)).width == 512


def test_long_valid_files_pass_chunk_limits() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    data = samples.png(pixels)
    assert data.count(b"IDAT") > 30
    assert probe(data, ProbeLimits(max_segments=16)).width == 900


@pytest.mark.parametrize("kind", [3, 4, 8, 9])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_any_integer_type_is_read(orientation: int, order: str, kind: int) -> None:
    """Compared with Pillow, which does not require the type of the standard."""
    value = struct.pack(f"{order}{'I' if kind in (4, 9) else 'H'}", orientation).ljust(4, b"\0")
    mark = {"<": b"II", ">": b"MM"}[order]
    block = mark + struct.pack(f"{order}HIHHHI", 42, 8, 1, 0x0112, kind, 1) + value + bytes(4)
    data = samples.jpeg(PIXELS, exif=b"Exif\0\0" + block)
    assert Image.open(BytesIO(data)).getexif()[0x0112] == orientation
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
    np.testing.assert_array_equal(decode(data, probe(data, LIMITS)).rgb, upright)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_exif_byte_orders_and_prefix_in_png(order: str) -> None:
    block = samples.exif(8, order)  # type: ignore[arg-type]
    for body in (block, b"Exif\0\0" + block):
        pixels = np.zeros((4, 4, 1), np.uint8)
        assert probe(samples.png_raw(pixels, 8, 0, extra=samples.png_chunk(b"eXIf", body)), LIMITS).orientation == 8


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        samples.exif(0),
        samples.exif(9),
        samples.exif(6)[:-8],
        samples.exif(6).replace(b"\x03\0\x01\0", b"\x02\0\x01\0"),
        b"XX" + samples.exif(6)[2:],
    ],
)
def test_damaged_exif_is_ignored(body: bytes) -> None:
    data = samples.png_raw(np.zeros((4, 4, 1), np.uint8), 8, 0, extra=samples.png_chunk(b"eXIf", body))
    assert probe(data, LIMITS).orientation == 1


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_byte_order_mark_before_an_image_is_named(fmt: str) -> None:
    data = b"\xef\xbb\xbf" + getattr(samples, fmt)(PIXELS)
    with pytest.raises(UnsupportedFormat, match=r"byte order mark.*first three bytes"):
        probe(data, ProbeLimits())
