"""What the options beyond the contract do to pixels: region, cut, reversal, backdrops, shadow, placing, ZIP."""

import io
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clearcut.errors import InvalidOption
from clearcut.imaging.compose import compose
from clearcut.imaging.compositing import background, blend
from clearcut.imaging.compositing.inpaint import extend
from clearcut.imaging.compositing.shadow import contact_shadow
from clearcut.imaging.edit import edit
from clearcut.imaging.encode import encode
from clearcut.imaging.matting.refine import subject_box
from clearcut.imaging.options import Length, Padding, RemoveOptions, Roi
from clearcut.imaging.types import Cutout, DecodedImage, Matte

BLUE, RED = (20, 40, 220), (230, 30, 10)


def scene(width=120, height=80, soft=4):
    """A red disc with a soft rim on blue, with its true matte and foreground."""
    y, x = np.mgrid[:height, :width]
    radius = min(width, height) / 3
    distance = radius - np.hypot(x - width / 2, y - height / 2)
    cover = np.clip(distance / max(soft, 1e-6) + 0.5, 0, 1)[..., None]
    rgb = (np.array(RED) * cover + np.array(BLUE) * (1 - cover) + 0.5).astype(np.uint8)
    alpha = (cover[..., 0] * 255 + 0.5).astype(np.uint8)
    foreground = np.where(alpha[..., None] > 0, np.uint8(RED), rgb).astype(np.uint8)
    foreground[alpha == 255] = rgb[alpha == 255]
    return DecodedImage(rgb), Matte(alpha, foreground, subject_box(alpha), 0.9, 0.1)


def made(options, backdrop_picture=None, **kwargs):
    image, matte = scene(**kwargs)
    return compose(image, edit(matte, image, options), options, backdrop_picture).pixels


def test_threshold_leaves_nothing_half_transparent_and_shows_the_picture_itself():
    image, matte = scene()
    cut = edit(matte, image, RemoveOptions(threshold=0.5))
    assert set(np.unique(cut.alpha)) == {0, 255}
    assert ((cut.alpha == 255) == (matte.alpha >= 128)).all()
    assert (cut.foreground == image.rgb).all()
    assert cut.ambiguous_ratio == 0


@pytest.mark.parametrize(("threshold", "least"), [(1.0, 255), (0.001, 1), (0.5, 128)])
def test_threshold_at_its_ends(threshold, least):
    image, matte = scene()
    cut = edit(matte, image, RemoveOptions(threshold=threshold))
    assert ((cut.alpha == 255) == (matte.alpha >= least)).all()


def test_roi_is_the_only_place_for_a_subject():
    image, matte = scene()
    left_half = Roi(Length(0), Length(0), Length(0.5, relative=True), Length(1, relative=True))
    cut = edit(matte, image, RemoveOptions(roi=left_half))
    assert not cut.alpha[:, 60:].any()
    assert (cut.alpha[:, :60] == matte.alpha[:, :60]).all()
    assert cut.box.right == 60


@pytest.mark.parametrize(
    "roi",
    [
        Roi(Length(0), Length(0), Length(121), Length(10)),
        Roi(Length(0), Length(0), Length(10), Length(81)),
        Roi(Length(5), Length(5), Length(5), Length(10)),
    ],
)
def test_a_roi_outside_the_picture_or_empty_is_refused(roi):
    image, matte = scene()
    with pytest.raises(InvalidOption) as caught:
        edit(matte, image, RemoveOptions(roi=roi))
    assert caught.value.option == "roi"


def test_reverse_keeps_the_background_and_is_its_own_inverse():
    image, matte = scene()
    cut = edit(matte, image, RemoveOptions(reverse=True))
    assert (cut.alpha == 255 - matte.alpha).all()
    assert cut.box.width == 120
    again = edit(cut, image, RemoveOptions(reverse=True))
    assert (again.alpha == matte.alpha).all()


def test_no_edit_is_no_work():
    image, matte = scene()
    assert edit(matte, image, RemoveOptions()) is matte


def test_blur_has_no_trace_of_the_subject_outside_it():
    image, matte = scene(300, 200)
    behind = background.blur_background(image.rgb, matte).astype(int)
    assert np.abs(behind - BLUE).max() <= 3
    naive = cv2.GaussianBlur(image.rgb, (0, 0), 15 * 300 / 1024).astype(int)
    assert np.abs(naive - BLUE)[matte.alpha == 0].max() > 20  # what blurring the picture itself would have done


def test_blur_backdrop_is_opaque_with_the_subject_sharp_in_front():
    pixels = made(RemoveOptions(backdrop="blur"))
    image, matte = scene()
    assert (pixels[..., 3] == 255).all()
    assert (pixels[..., :3][matte.alpha == 255] == image.rgb[matte.alpha == 255]).all()


def test_image_backdrop_covers_the_canvas_centred():
    stripes = np.zeros((50, 200, 3), np.uint8)
    stripes[:, 90:110] = (0, 255, 0)
    pixels = made(RemoveOptions(backdrop="image", channels="rgb"), stripes)
    assert pixels.shape == (80, 120, 3)
    assert tuple(pixels[1, 60]) == (0, 255, 0)
    assert tuple(pixels[1, 2]) == (0, 0, 0)
    assert tuple(pixels[40, 60]) == RED


def test_image_backdrop_needs_its_picture():
    with pytest.raises(InvalidOption) as caught:
        made(RemoveOptions(backdrop="image"))
    assert caught.value.role == "background"


def test_overlay_tints_the_subject_only():
    pixels = made(RemoveOptions(backdrop="overlay", channels="rgb"))
    assert tuple(pixels[1, 1]) == BLUE
    assert tuple(pixels[40, 60]) != RED


def test_scale_and_position_place_the_subject_on_an_unchanged_canvas():
    pixels = made(RemoveOptions(scale=0.5, position=(0.0, 1.0)))
    assert pixels.shape == (80, 120, 4)
    box = subject_box(np.ascontiguousarray(pixels[..., 3]))
    assert abs(box.height - 40) <= 2
    assert box.left <= 1
    assert box.bottom >= 79


def test_scale_alone_centres():
    box = subject_box(np.ascontiguousarray(made(RemoveOptions(scale=1.0))[..., 3]))
    assert box.height >= 78
    assert abs((box.left + box.right) / 2 - 60) <= 1


def test_position_without_scale_keeps_the_size():
    _, matte = scene()
    box = subject_box(np.ascontiguousarray(made(RemoveOptions(position=(1.0, 0.0)))[..., 3]))
    assert (box.width, box.height) == (matte.box.width, matte.box.height)
    assert box.right == 120
    assert box.top == 0


def test_shadow_darkens_the_ground_below_and_leaves_the_subject_alone():
    plain = made(RemoveOptions(channels="rgb"), width=200, height=160)
    dark = made(RemoveOptions(channels="rgb", shadow=0.6), width=200, height=160)
    _, matte = scene(200, 160)
    assert (dark[matte.alpha == 255] == plain[matte.alpha == 255]).all()
    below = dark[matte.box.bottom + 1, 100]
    assert below.max() < 250
    assert dark[2, 2].min() == 255


def test_shadow_on_transparent_ground_is_black_and_translucent():
    pixels = made(RemoveOptions(shadow=0.6), width=200, height=160)
    _, matte = scene(200, 160)
    spot = pixels[matte.box.bottom + 1, 100]
    assert 0 < spot[3] < 255
    assert spot[:3].max() <= 30


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_shadow_is_as_dark_as_asked_for_at_its_darkest(opacity):
    _, matte = scene(200, 160)
    assert abs(int(contact_shadow(matte.alpha, opacity).max()) - round(255 * opacity)) <= 1


def test_onto_is_exact_at_the_ends():
    front = np.zeros((2, 2, 4), np.uint8)
    front[0, 0] = (10, 20, 30, 255)
    back = np.full((2, 2, 4), (200, 100, 50, 255), np.uint8)
    out = blend.alpha_over(front, back)
    assert tuple(out[0, 0]) == (10, 20, 30, 255)
    assert (out[1] == back[1]).all()
    assert not blend.alpha_over(front, np.zeros_like(back))[1].any()


def test_extend_keeps_what_is_known_and_fills_the_rest_from_it():
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, :32] = (200, 10, 10)
    rgb[:, 32:] = (10, 10, 200)
    known = np.full((64, 64), 255, np.uint8)
    known[16:48, 8:56] = 0
    rgb_holed = rgb.copy()
    rgb_holed[known == 0] = (0, 255, 0)
    out = extend(rgb_holed, known)
    assert (out[known > 0] == rgb[known > 0]).all()
    assert out[..., 1].max() <= 11  # nothing of what was hidden
    assert out[32, 10, 0] > out[32, 54, 0] + 100


def test_extend_of_nothing_is_white():
    assert (extend(np.zeros((5, 7, 3), np.uint8), np.zeros((5, 7), np.uint8)) == 255).all()


def test_zip_holds_colour_without_alpha_and_the_matte():
    image, matte = scene()
    encoded = encode(compose(image, matte, RemoveOptions(format="zip")), "zip")
    assert encoded.media_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(encoded.data)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        colour = np.asarray(Image.open(archive.open("color.jpg"))).astype(int)
        alpha = np.asarray(Image.open(archive.open("alpha.png")))
    assert (alpha == matte.alpha).all()
    assert np.abs(colour - RED).max() <= 6  # also under alpha 0: no blue anywhere
    assert encode(compose(image, matte, RemoveOptions(format="zip")), "zip").data == encoded.data


def test_zip_of_a_lone_matte_is_refused():
    with pytest.raises(InvalidOption):
        encode(Cutout(np.zeros((2, 2, 1), np.uint8)), "zip")


SIZES = [(1, 1), (3, 3), (1, 40), (40, 1), (2, 300), (17, 23)]
SETS = [
    {"backdrop": "blur"}, {"backdrop": "overlay"}, {"backdrop": "image"}, {"shadow": 1.0}, {"scale": 0.1},
    {"scale": 1.0}, {"position": (0.0, 1.0)}, {"threshold": 1.0}, {"reverse": True}, {"format": "zip"},
    {"crop": True, "crop_ratio": (9, 1)}, {"width": 7, "height": 5, "fit": "cover"}, {"max_side": 2},
    {"crop": True, "padding": Padding(*[Length(0.5, relative=True)] * 4)}, {"background": (1, 2, 3, 128)},
    {"max_pixels": 3}, {"shadow": 0.5, "background": (9, 9, 9, 128)},
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    size=st.sampled_from(SIZES),
    options=st.sampled_from(SETS),
    channels=st.sampled_from(["rgba", "rgb", "alpha"]),
    seed=st.integers(0, 9),
)
def test_every_option_at_odd_sizes_keeps_the_promises(size, options, channels, seed):
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    alpha = random.choice(np.array([0, 0, 5, 128, 255, 255], np.uint8), size)
    image = DecodedImage(rgb)
    matte = Matte(alpha, rgb, subject_box(alpha), 0.5, 0.1)
    wanted = replace(RemoveOptions(channels=channels), **options)
    if wanted.format == "zip" and channels == "alpha":
        return
    pixels = compose(image, edit(matte, image, wanted), wanted, np.full((9, 4, 3), 77, np.uint8)).pixels
    assert pixels.shape[2] == {"rgba": 4, "rgb": 3, "alpha": 1}[channels]
    if pixels.shape[2] == 4:
        assert not pixels[pixels[..., 3] == 0].any()
        if wanted.backdrop != "none":
            assert (pixels[..., 3] == 255).all()
    encoded = encode(Cutout(pixels), wanted.format, wanted.quality)
    assert (encoded.width, encoded.height) == (pixels.shape[1], pixels.shape[0])
