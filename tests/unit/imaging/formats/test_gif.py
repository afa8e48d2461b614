"""GIF input: the first frame, compared with Pillow, and floods of blocks."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from clearcut.errors import ClearcutError, CorruptImage, SuspiciousStructure, TooManyPixels
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import samples

LIMITS = ProbeLimits()
PHOTO = Image.fromarray(samples.photo("coffee", 61, 41))
CUTOUT = Image.fromarray(np.dstack([samples.photo("coffee", 61, 41), samples.disc(41, 61)]))


def gif(image: Image.Image = PHOTO, **options: object) -> bytes:
    return samples.saved(image, "GIF", **options)


def shifted(data: bytes, left: int, top: int) -> bytes:
    """Move the first frame on a canvas that does not grow with it."""
    at = data.index(b",\x00\x00\x00\x00") + 1
    return data[:at] + struct.pack("<HH", left, top) + data[at + 4 :]


CASES = {
    "palette": gif(PHOTO.quantize(64)),
    "two colors": gif(PHOTO.convert("1")),
    "gray": gif(PHOTO.convert("L")),
    "interlaced": gif(PHOTO.convert("L"), interlace=1),
    "transparent": gif(CUTOUT),
    "animated": gif(PHOTO, save_all=True, append_images=[PHOTO.rotate(180)]),
    "1 x 1": gif(PHOTO.resize((1, 1))),
    "comment": gif(PHOTO, comment=b"text" * 200),
    "frame past the canvas": shifted(gif(PHOTO), 7, 5),
}


@pytest.mark.parametrize("name", CASES)
def test_first_frame_equals_pillow(name: str) -> None:
    data = CASES[name]
    header = probe(data, LIMITS)
    image = decode(data, header)
    expected = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
    np.testing.assert_array_equal(image.rgb, expected[:, :, :3])
    if image.alpha is None:
        assert (expected[:, :, 3] == 255).all()
    else:
        np.testing.assert_array_equal(image.alpha, expected[:, :, 3])
    assert (header.frames == 2) == (name == "animated")
    assert (image.alpha is not None) == (name == "transparent")


def test_every_truncation_of_the_first_frame_is_refused() -> None:
    data = gif()
    end = len(data) - 1  # the trailer may be missing
    assert decode(data[:end], probe(data[:end], LIMITS)).rgb.shape == (41, 61, 3)
    for length in range(6, end):
        with pytest.raises(CorruptImage):
            probe(data[:length], LIMITS)


def test_damaged_data_is_corrupt() -> None:
    data = bytearray(gif(PHOTO.convert("L")))
    at = data.index(b",\x00\x00\x00\x00") + 12
    data[at + 40 : at + 200] = b"\xff" * 160
    with pytest.raises(CorruptImage):
        decode(bytes(data), probe(bytes(data), LIMITS))


def test_size_limits() -> None:
    with pytest.raises(TooManyPixels):
        probe(gif(), ProbeLimits(max_side=60))
    data = bytearray(gif())
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    with pytest.raises(TooManyPixels):
        probe(bytes(data), LIMITS)


@pytest.mark.parametrize("flood", ["blocks", "small blocks", "empty promise"])
def test_floods_are_refused(flood: str) -> None:
    data = gif(PHOTO.convert("L"))
    at = data.index(b",\x00\x00\x00\x00")
    if flood == "blocks":
        data = data[:at] + b"!\xfe\x00" * 2_000_000 + data[at:]
    elif flood == "small blocks":
        data = data[:at] + b"!\xfe" + b"\x01a" * 3_000_000 + b"\x00" + data[at:]
    else:
        data = data[: at + 5] + struct.pack("<HH", 7000, 7000) + data[at + 9 :]
    with pytest.raises((SuspiciousStructure, CorruptImage)) as caught:
        probe(data, LIMITS)
    assert isinstance(caught.value, ClearcutError)


def test_frames_after_the_first_are_not_read() -> None:
    data = gif(PHOTO)
    flooded = data[:-1] + b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08" * 1_000_000
    header = probe(flooded, LIMITS)
    assert header.frames == 2
    np.testing.assert_array_equal(decode(flooded, header).rgb, decode(data, probe(data, LIMITS)).rgb)
