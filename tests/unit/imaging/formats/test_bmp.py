"""BMP input, compared with Pillow and with the source pixels."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from clearcut.errors import ClearcutError, CorruptImage, TooManyPixels, UnsupportedFormat
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import samples

LIMITS = ProbeLimits()
PHOTO = samples.photo("coffee", 61, 41)


def with_masks(pixels: np.ndarray, masks: tuple[int, ...], depth: int, head: int = 124, rows: int = -1) -> bytes:
    """Encode packed pixels u16 or u32 [H,W] with bit fields; ``rows`` is the sign of the height."""
    height, width = pixels.shape
    padded = np.zeros((height, (width * depth + 31) // 32 * 32 // depth), pixels.dtype)
    padded[:, :width] = pixels
    body = padded.tobytes()
    info = struct.pack("<IiiHHIIiiII", head, width, rows * height, 1, depth, 3, len(body), 0, 0, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    info = info.ljust(max(head, 40 + 4 * len(masks)), b"\x00")
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info)) + info + body


def rgba32(alpha: np.ndarray) -> bytes:
    r, g, b = (PHOTO[:, :, channel].astype(np.uint32) for channel in range(3))
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    return with_masks(b | g << 8 | r << 16 | alpha.astype(np.uint32) << 24, masks, 32)


def rgb565() -> bytes:
    r, g, b = (PHOTO[:, :, channel].astype(np.uint16) for channel in range(3))
    return with_masks(b >> 3 | g >> 2 << 5 | r >> 3 << 11, (0xF800, 0x7E0, 0x1F), 16, head=40)


CASES = {
    **{mode: samples.saved(Image.fromarray(PHOTO).convert(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")},
    "1 x 1": samples.saved(Image.fromarray(PHOTO[:1, :1]), "BMP"),
    "rows from the top": with_masks(
        np.arange(61 * 41, dtype=np.uint32).reshape(41, 61) * 997, (0xFF0000, 0xFF00, 0xFF), 32, head=40
    ),
    "565": rgb565(),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_equal_pillow(name: str) -> None:
    data = CASES[name]
    image = decode(data, probe(data, LIMITS))
    np.testing.assert_array_equal(image.rgb, np.asarray(Image.open(BytesIO(data)).convert("RGB")))
    assert image.alpha is None


def test_alpha_mask_gives_alpha() -> None:
    alpha = samples.disc(41, 61)
    data = rgba32(alpha)
    image = decode(data, probe(data, LIMITS))
    np.testing.assert_array_equal(image.rgb, PHOTO)
    np.testing.assert_array_equal(image.alpha, alpha)


@pytest.mark.parametrize("head", [56, 108, 124])
def test_unused_alpha_is_ignored(head: int) -> None:
    """Some editors declare alpha and leave it at 0."""
    r, g, b = (PHOTO[:, :, channel].astype(np.uint32) for channel in range(3))
    data = with_masks(b | g << 8 | r << 16, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32, head)
    image = decode(data, probe(data, LIMITS))
    np.testing.assert_array_equal(image.rgb, PHOTO)
    assert image.alpha is None


def test_every_truncation_is_corrupt() -> None:
    data = CASES["RGB"]
    for length in range(18, len(data)):
        with pytest.raises(CorruptImage):
            probe(data[:length], LIMITS)


@pytest.mark.parametrize("compression", [1, 2, 4, 5, 6])
def test_compressed_pixels_are_refused_by_name(compression: int) -> None:
    data = bytearray(CASES["L"])
    data[30:34] = struct.pack("<I", compression)
    with pytest.raises(UnsupportedFormat, match="save it as PNG"):
        probe(bytes(data), LIMITS)


@pytest.mark.parametrize("head", [40, 56, 124])
def test_unusual_bit_fields_are_refused_by_name(head: int) -> None:
    """Ten bits for each color are a rare kind, and no damage."""
    masks = (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)[: 3 if head == 40 else 4]
    data = with_masks(np.zeros((41, 61), np.uint32), masks, 32, head)
    header = probe(data, LIMITS)
    with pytest.raises(UnsupportedFormat, match="bit fields; save it as PNG"):
        decode(data, header)


@pytest.mark.parametrize("head", [40, 56])
def test_bit_fields_of_windows_ce_are_refused_by_name(head: int) -> None:
    data = bytearray(with_masks(np.zeros((41, 61), np.uint32), (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32, head))
    data[30:34] = struct.pack("<I", 6)
    with pytest.raises(UnsupportedFormat, match="Windows CE; save it as PNG"):
        probe(bytes(data), LIMITS)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(18, struct.pack("<i", -61)), (26, b"\x02\x00"), (28, b"\x07\x00"), (10, b"\x00\x00\x00\x00"), (18, bytes(4))],
)
def test_contradicting_headers_are_refused(offset: int, value: bytes) -> None:
    data = bytearray(CASES["RGB"])
    data[offset : offset + len(value)] = value
    with pytest.raises(ClearcutError):
        probe(bytes(data), LIMITS)


def test_size_limits() -> None:
    with pytest.raises(TooManyPixels):
        probe(CASES["RGB"], ProbeLimits(max_side=60))
    data = bytearray(CASES["RGB"])
    data[18:26] = struct.pack("<ii", 2**31 - 1, -(2**31))
    with pytest.raises(TooManyPixels):
        probe(bytes(data), LIMITS)
