"""WebP output: without loss where that is smaller."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from clearcut.imaging.encode import encode
from clearcut.imaging.types import ComposedImage
from tests.support import samples


def drawing(channels: int = 4) -> np.ndarray:
    image = Image.new("RGBA", (300, 200))
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 30, 200, 150), (220, 40, 30, 255))
    draw.ellipse((120, 60, 280, 190), (20, 90, 200, 255))
    draw.text((40, 50), "Clearcut", (255, 255, 255, 255))
    return np.asarray(image)[:, :, -1:] if channels == 1 else np.asarray(image)[:, :, :channels]


def lossy_size(pixels: np.ndarray) -> int:
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return len(samples.saved(image, "WEBP", quality=85, method=0))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_drawing_is_lossless_and_smaller(channels: int) -> None:
    pixels = np.ascontiguousarray(drawing(channels))
    data = bytes(encode(ComposedImage(pixels), "webp").data)
    assert len(data) < lossy_size(pixels)
    found = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
    if channels == 4:
        np.testing.assert_array_equal(found[:, :, 3], pixels[:, :, 3])
    shown = pixels[:, :, 3] > 0 if channels == 4 else np.ones(pixels.shape[:2], bool)
    expected = pixels.repeat(3, axis=2) if channels == 1 else pixels[:, :, :3]
    np.testing.assert_array_equal(found[shown][:, :3], expected[shown])


def test_photo_stays_lossy() -> None:
    pixels = np.dstack([samples.photo("coffee"), samples.disc(*samples.photo("coffee").shape[:2])])
    data = bytes(encode(ComposedImage(pixels), "webp").data)
    assert b"VP8L" not in data[:64]
    assert len(data) == lossy_size(pixels)
