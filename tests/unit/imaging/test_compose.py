from __future__ import annotations

import numpy as np
import pytest

from clearcut.imaging.compose import compose
from clearcut.imaging.options import Length, Padding, RemoveOptions
from clearcut.imaging.types import Box, DecodedImage, Matte
from tests.support import samples


def scene(name: samples.Photo = "coffee", width: int = 301, height: int = 203) -> tuple[DecodedImage, Matte]:
    rgb = samples.photo(name, width, height)
    alpha = samples.disc(height, width)
    rows, columns = np.nonzero(alpha >= 10)
    box = Box(
        int(columns.min()),
        int(rows.min()),
        int(columns.max() - columns.min() + 1),
        int(rows.max() - rows.min() + 1),
    )
    return DecodedImage(rgb), Matte(alpha, rgb, box, 1.0, 0.0)


def made(matte_of: tuple[DecodedImage, Matte], **options: object) -> np.ndarray:
    pixels = compose(*matte_of, RemoveOptions(**options)).pixels  # type: ignore[arg-type]
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels


def over(rgb: np.ndarray, alpha: np.ndarray, background: tuple[int, ...]) -> np.ndarray:
    share = alpha[:, :, None].astype(np.float64) / 255
    return np.round(rgb * share + np.array(background[:3]) * (1 - share)).astype(np.uint8)


def test_rgba_equals_photo_inside_and_zero_outside() -> None:
    image, matte = scene()
    pixels = made((image, matte))
    np.testing.assert_array_equal(pixels[:, :, 3], matte.alpha)
    inside, outside = matte.alpha == 255, matte.alpha == 0
    np.testing.assert_array_equal(pixels[inside, :3], image.rgb[inside])
    assert not pixels[outside].any()
    soft = ~inside & ~outside
    np.testing.assert_array_equal(pixels[soft, :3], matte.foreground[soft])


def test_compose_does_not_change_its_inputs() -> None:
    image, matte = scene()
    before = matte.alpha.copy(), matte.foreground.copy()
    for options in ({}, {"background": (1, 2, 3, 99)}, {"format": "jpg"}, {"max_side": 50}, {"crop": True}):
        made((image, matte), **options)
    np.testing.assert_array_equal(matte.alpha, before[0])
    np.testing.assert_array_equal(matte.foreground, before[1])


def test_alpha_channel_alone() -> None:
    image, matte = scene()
    np.testing.assert_array_equal(made((image, matte), channels="alpha")[:, :, 0], matte.alpha)
    assert made((image, matte), channels="alpha", crop=True).shape == (matte.box.height, matte.box.width, 1)
    assert made((image, matte), channels="alpha", max_side=60).shape == (40, 60, 1)


@pytest.mark.parametrize("options", [{"channels": "rgb"}, {"format": "jpg"}, {"channels": "rgb", "format": "webp"}])
@pytest.mark.parametrize("background", [None, (255, 255, 255, 255), (10, 200, 77, 255)])
def test_opaque_outputs_are_flattened_exactly(options: dict[str, object], background: object) -> None:
    image, matte = scene()
    expected = over(image.rgb, matte.alpha, background or (255, 255, 255))  # type: ignore[arg-type]
    np.testing.assert_array_equal(made((image, matte), background=background, **options), expected)


def test_translucent_background_is_blended_over_white() -> None:
    image, matte = scene()
    pixels = made((image, matte), channels="rgb", background=(0, 0, 0, 51))
    assert pixels[0, 0].tolist() == [204, 204, 204]


def test_opaque_background_in_rgba() -> None:
    image, matte = scene()
    opaque = made((image, matte), background=(10, 200, 77, 255))
    np.testing.assert_array_equal(opaque[:, :, :3], over(image.rgb, matte.alpha, (10, 200, 77)))
    assert opaque[:, :, 3].min() == 255
    np.testing.assert_array_equal(made((image, matte), background=(10, 200, 77, 0)), made((image, matte)))


def test_translucent_background_in_rgba() -> None:
    image, matte = scene()
    background = (10, 200, 77, 128)
    pixels = made((image, matte), background=background)
    front = matte.alpha[:, :, None] / 255
    back = (1 - front) * background[3] / 255
    alpha = front + back
    assert np.abs(pixels[:, :, 3:] - 255 * alpha).max() <= 0.51
    color = (image.rgb * front + np.array(background[:3]) * back) / alpha
    assert np.abs(pixels[:, :, :3] - color).max() <= 0.51
    assert pixels[0, 0].tolist() == list(background)
    inside = matte.alpha == 255
    np.testing.assert_array_equal(pixels[inside, :3], image.rgb[inside])


def test_crop_equals_box_of_full_output() -> None:
    image, matte = scene()
    box = matte.box
    assert box is not None
    for options in ({}, {"format": "jpg"}, {"background": (9, 8, 7, 100)}):
        whole, cropped = made((image, matte), **options), made((image, matte), crop=True, **options)
        np.testing.assert_array_equal(cropped, whole[box.top : box.bottom, box.left : box.right])


@pytest.mark.parametrize(
    ("options", "background"),
    [
        ({}, [0, 0, 0, 0]),
        ({"background": (9, 8, 7, 100)}, [9, 8, 7, 100]),
        ({"format": "jpg"}, [255, 255, 255]),
        ({"channels": "rgb", "background": (1, 2, 3, 255)}, [1, 2, 3]),
        ({"channels": "alpha"}, [0]),
    ],
)
def test_padding_past_the_frame_is_background(options: dict[str, object], background: list[int]) -> None:
    image, matte = scene()
    margin = Length(500)
    pixels = made((image, matte), crop=True, padding=Padding(margin, margin, margin, margin), **options)
    box = matte.box
    assert box is not None
    assert pixels.shape[:2] == (box.height + 1000, box.width + 1000)
    assert pixels[0, 0].tolist() == pixels[-1, -1].tolist() == background
    whole = made((image, matte), **options)
    left, top = 500 - box.left, 500 - box.top
    np.testing.assert_array_equal(pixels[top : top + image.height, left : left + image.width], whole)


def test_resize_does_not_bleed_removed_background() -> None:
    """A red subject on green: every visible pixel of the reduced cut-out is red."""
    alpha = samples.disc(400, 600, soft=9.0)
    rgb = np.zeros((400, 600, 3), np.uint8)
    rgb[:] = (0, 255, 0)
    rgb[alpha > 0] = (200, 0, 0)
    matte = Matte(alpha, rgb, Box(80, 50, 440, 300), 1.0, 0.0)
    for options in ({"max_side": 97}, {"width": 1000, "height": 1000}, {"width": 90, "height": 90, "fit": "cover"}):
        pixels = made((DecodedImage(rgb), matte), **options)
        shown = pixels[:, :, 3] > 0
        assert np.abs(pixels[shown, :3].astype(int) - (200, 0, 0)).max() <= 1
        assert not pixels[~shown].any()


def test_resize_is_alpha_weighted_mean() -> None:
    image, matte = scene(width=300, height=210)
    pixels = made((image, matte), max_side=100)
    weight = matte.alpha.astype(np.float64)
    blocks = (weight[:, :, None] * image.rgb).reshape(70, 3, 100, 3, 3).sum(axis=(1, 3))
    total = weight.reshape(70, 3, 100, 3).sum(axis=(1, 3))
    assert np.abs(pixels[:, :, 3] - total / 9).max() <= 0.51
    strong = pixels[:, :, 3] > 3
    assert np.abs(pixels[strong, :3] - (blocks[strong] / total[strong, None])).max() <= 1.0


def test_no_subject_gives_background_only() -> None:
    image, _ = scene()
    nothing = Matte(np.zeros((203, 301), np.uint8), image.rgb, None, 0.0, 0.0)
    assert not made((image, nothing), crop=True).any()
    assert made((image, nothing), format="jpg", crop=True).min() == 255
    assert made((image, nothing), width=10, height=10, fit="cover").shape == (10, 10, 4)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16_384, 1), (1, 16_384), (3, 2)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": "jpg"},
        {"background": (1, 2, 3, 4)},
        {"channels": "alpha"},
        {"crop": True},
        {"max_side": 256},
        {"width": 40, "height": 30},
        {"width": 40, "height": 30, "fit": "cover"},
    ],
)
def test_extreme_sizes(width: int, height: int, options: dict[str, object]) -> None:
    rgb = np.full((height, width, 3), 200, np.uint8)
    matte = Matte(np.full((height, width), 255, np.uint8), rgb, Box(0, 0, width, height), 1.0, 0.0)
    pixels = made((DecodedImage(rgb), matte), **options)
    assert pixels.any()
    if options.get("channels") != "alpha" and "width" not in options:
        assert (pixels[:, :, :3] == 200).all()
