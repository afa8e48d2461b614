"""WebP files with a wrong length of the container: complete images are decoded, truncated ones are refused."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from clearcut.errors import CorruptImage
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ProbeLimits
from tests.support import samples

PHOTO = samples.photo("coffee", 121, 77)
CUTOUT = np.dstack([PHOTO, samples.disc(77, 121)])
FILES = {
    "lossy": samples.webp(PHOTO, quality=80),
    "lossless": samples.webp(PHOTO, lossless=True),
    "lossy with alpha": samples.webp(CUTOUT, quality=80),
    "lossless with alpha": samples.webp(CUTOUT, lossless=True),
    "with EXIF": samples.webp(PHOTO, quality=80, exif=samples.exif(6)),
}


def opened(data: bytes) -> DecodedImage:
    return decode(data, probe(data, ProbeLimits()))


def test_lost_orientation_is_refused() -> None:
    data = FILES["with EXIF"]
    with pytest.raises(CorruptImage, match="EXIF"):
        opened(data[: data.index(b"EXIF")])


def with_length(data: bytes, length: int) -> bytes:
    return data[:4] + struct.pack("<I", length) + data[8:]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["zero", "file size", "maximum", "one less", "one more", "first chunk only"])
def test_wrong_container_length_loses_no_pixel(name: str, change: str) -> None:
    data = FILES[name]
    right = len(data) - 8
    lengths = {
        "zero": 0, "file size": len(data), "maximum": 2**32 - 1, "one less": right - 1, "one more": right + 1,
        "first chunk only": 12 + struct.unpack_from("<I", data, 16)[0],
    }  # fmt: skip
    image = Image.open(BytesIO(data))
    expected = np.asarray(image.convert("RGBA"))
    if name == "with EXIF":
        expected = np.rot90(expected, -1)
    got = opened(with_length(data, lengths[change]))
    np.testing.assert_array_equal(got.rgb[..., :3][expected[..., 3] > 0], expected[..., :3][expected[..., 3] > 0])
    if got.alpha is not None:
        np.testing.assert_array_equal(got.alpha, expected[..., 3])


@pytest.mark.parametrize("profile", [None, samples.icc_rgb()])
def test_alpha_without_its_flag_is_ignored(profile: bytes | None) -> None:
    """Chromium, and Pillow too, show such an image as opaque."""
    data = bytearray(samples.webp(CUTOUT, quality=80, exact=True, icc_profile=profile or b""))
    expected = opened(bytes(data))
    assert data[12:16] == b"VP8X"
    data[20] &= ~0x10
    assert np.asarray(Image.open(BytesIO(data)).convert("RGBA"))[:, :, 3].min() == 255
    image = opened(bytes(data))
    assert image.alpha is None
    visible = samples.disc(77, 121) == 255
    np.testing.assert_array_equal(image.rgb[visible], expected.rgb[visible])
    if profile is None:
        np.testing.assert_array_equal(image.rgb, np.asarray(Image.open(BytesIO(data)).convert("RGB")))


def test_missing_padding_loses_no_pixel() -> None:
    files = (samples.webp(PHOTO[:height], lossless=True) for height in range(20, 60))
    odd = next(data for data in files if struct.unpack_from("<I", data, 16)[0] % 2)
    assert odd[-1] == 0
    np.testing.assert_array_equal(opened(odd[:-1]).rgb, opened(odd).rgb)
    np.testing.assert_array_equal(opened(with_length(odd[:-1], len(odd) - 9)).rgb, opened(odd).rgb)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("right_length", [True, False])
def test_truncated_image_data_is_refused(name: str, right_length: bool) -> None:
    data = FILES[name]
    start = data.index(b"VP8", 12) if b"VP8X" not in data else data.index(b"VP8", data.index(b"VP8X") + 4)
    end = start + 8 + struct.unpack_from("<I", data, start + 4)[0]
    for at in np.linspace(20, end - 1, 9, dtype=int):
        cut = data[:at] if not right_length else with_length(data[:at], at - 8)
        with pytest.raises(CorruptImage):
            opened(cut)
