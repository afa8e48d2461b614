from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from clearcut.errors import InvalidOption
from clearcut.imaging.encode import encode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ComposedImage, EncodedImage, ProbeLimits
from tests.support import samples

MEDIA = {"png": ("image/png", "PNG"), "jpg": ("image/jpeg", "JPEG"), "webp": ("image/webp", "WEBP")}
PHOTO = samples.photo("rocket")
ALPHA = samples.disc(*PHOTO.shape[:2])


def cutout() -> ComposedImage:
    pixels = np.dstack([PHOTO, ALPHA])
    pixels[ALPHA == 0] = 0
    return ComposedImage(pixels)


def read(encoded: EncodedImage, fmt: str) -> np.ndarray:
    with Image.open(BytesIO(bytes(encoded.data)), formats=[MEDIA[fmt][1]]) as opened:
        assert opened.size == (encoded.width, encoded.height)
        assert not set(opened.info) - {
            "srgb",
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "background",
            "loop",
            "progressive",
            "progression",
        }
        assert not opened.getexif()
        return np.array(opened)


@pytest.mark.parametrize("fmt", ["png", "jpg", "webp"])
def test_opaque_cutout_in_every_format(fmt: str) -> None:
    encoded = encode(ComposedImage(np.array(PHOTO)), fmt)  # type: ignore[arg-type]
    assert encoded.media_type == MEDIA[fmt][0]
    assert (encoded.width, encoded.height) == (PHOTO.shape[1], PHOTO.shape[0])
    pixels = read(encoded, fmt)
    assert pixels.shape == PHOTO.shape
    assert np.abs(pixels.astype(int) - PHOTO).mean() < (1e-9 if fmt == "png" else 4)


@pytest.mark.parametrize("fmt", ["png", "jpg", "webp"])
def test_alpha_alone_is_a_gray_image(fmt: str) -> None:
    pixels = read(encode(ComposedImage(ALPHA[:, :, None]), fmt), fmt)  # type: ignore[arg-type]
    gray = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    assert (pixels.ndim == 2) == (fmt != "webp")  # WebP has no gray
    assert np.abs(gray.astype(int) - ALPHA).mean() < (1e-9 if fmt == "png" else 1.5)


def test_webp_keeps_alpha_and_hides_removed_color() -> None:
    source = cutout()
    pixels = read(encode(source, "webp"), "webp")
    np.testing.assert_array_equal(pixels[:, :, 3], ALPHA)
    inside = ALPHA == 255
    assert np.abs(pixels[inside, :3].astype(int) - PHOTO[inside]).mean() < 4
    removed = ALPHA == 0
    assert PHOTO[removed].std() > 20
    assert abs(np.corrcoef(pixels[removed, :3].ravel(), PHOTO[removed].ravel())[0, 1]) < 0.2
    assert pixels[:40, :, :3].max() < 10  # away from the edge there is nothing at all


@pytest.mark.parametrize("fmt", ["jpg", "webp"])
def test_quality_changes_file_size(fmt: str) -> None:
    cutout = ComposedImage(np.array(PHOTO))
    low, high = (len(encode(cutout, fmt, quality).data) for quality in (20, 95))  # type: ignore[arg-type]
    assert low * 2 < high


def test_jpeg_keeps_full_chroma() -> None:
    """A red shape against green at odd pixels: halved chroma would make it brown all along the edge."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:] = (0, 180, 0)
    pixels[:, 31:] = (220, 0, 0)
    decoded = read(encode(ComposedImage(pixels), "jpg", 95), "jpg")
    assert np.abs(decoded.astype(int) - pixels).max() < 30


@pytest.mark.parametrize(
    ("size", "progressive"), [((64, 64), False), ((320, 240), True), ((640, 480), False), ((2100, 2000), False)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_smaller_than_baseline(size: tuple[int, int], progressive: bool, channels: int) -> None:
    pixels = samples.photo("coffee", *size)[:, :, :channels]
    data = bytes(encode(ComposedImage(np.ascontiguousarray(pixels)), "jpg").data)
    source = pixels[:, :, ::-1] if channels == 3 else pixels[:, :, 0]
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, baseline = cv2.imencode(".jpg", np.ascontiguousarray(source), [cv2.IMWRITE_JPEG_QUALITY, 90, *sampling])
    assert len(data) < 0.995 * len(baseline)
    with Image.open(BytesIO(data)) as found, Image.open(BytesIO(baseline)) as expected:
        assert ("progressive" in found.info) == progressive
        np.testing.assert_array_equal(found, expected)


def test_webp_that_cannot_be_lossy_is_lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    """libwebp refuses lossy files of more than 13 megapixels of noise in quality 100."""
    save = Image.Image.save

    def refuse(image: Image.Image, *args: object, **options: object) -> None:
        if not options.get("lossless"):
            raise ValueError("encoding error 6")
        save(image, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", refuse)
    expected = cutout().pixels
    found = read(encode(cutout(), "webp", 100), "webp")
    np.testing.assert_array_equal(found[:, :, 3], expected[:, :, 3])
    np.testing.assert_array_equal(found[ALPHA > 0], expected[ALPHA > 0])


def test_jpeg_rejects_alpha() -> None:
    with pytest.raises(ValueError, match="alpha"):
        encode(cutout(), "jpg")


@pytest.mark.parametrize(("fmt", "limit"), [("webp", 16_383), ("jpg", 65_500)])
def test_longest_side_of_a_format(fmt: str, limit: int) -> None:
    assert read(encode(ComposedImage(np.zeros((1, limit, 3), np.uint8)), fmt), fmt).shape == (1, limit, 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match=f"{limit}") as caught:
        encode(ComposedImage(np.zeros((limit + 1, 1, 3), np.uint8)), fmt)  # type: ignore[arg-type]
    assert caught.value.option == "format"


@pytest.mark.parametrize("fmt", ["png", "jpg", "webp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_pixel_file_passes_probe(fmt: str, channels: int) -> None:
    if (fmt, channels) == ("jpg", 4):
        return
    encoded = encode(ComposedImage(np.full((1, 1, channels), 200, np.uint8)), fmt)  # type: ignore[arg-type]
    header = probe(encoded.data, ProbeLimits())
    assert (header.width, header.height) == (1, 1)
