"""Every option at odd sizes, and the placement of the subject."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clearcut.imaging.compose import compose
from clearcut.imaging.edit import edit
from clearcut.imaging.encode import encode
from clearcut.imaging.matting.refine import subject_box
from clearcut.imaging.options import Length, Padding, RemoveOptions
from clearcut.imaging.types import ComposedImage, DecodedImage, Matte
from tests.support.scenes import composed, red_disc


def test_scale_and_position_keep_canvas_size():
    pixels = composed(RemoveOptions(scale=0.5, position=(0.0, 1.0)))
    assert pixels.shape == (80, 120, 4)
    box = subject_box(np.ascontiguousarray(pixels[..., 3]))
    assert abs(box.height - 40) <= 2
    assert box.left <= 1
    assert box.bottom >= 79


def test_scale_alone_centers_subject():
    box = subject_box(np.ascontiguousarray(composed(RemoveOptions(scale=1.0))[..., 3]))
    assert box.height >= 78
    assert abs((box.left + box.right) / 2 - 60) <= 1


def test_position_alone_keeps_subject_size():
    _, matte = red_disc()
    box = subject_box(np.ascontiguousarray(composed(RemoveOptions(position=(1.0, 0.0)))[..., 3]))
    assert (box.width, box.height) == (matte.box.width, matte.box.height)
    assert box.right == 120
    assert box.top == 0


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
    sets=st.lists(
        st.sampled_from(
            [*SETS, {"fit": "scale-down"}, {"fit": "cover"}, {"width": 9}, {"despill": False}, {"padding": None}]
        ),
        min_size=1,
        max_size=4,
    ),
    channels=st.sampled_from(["rgba", "rgb", "alpha"]),
)
def test_effective_options_give_the_same_pixels(sets, channels):
    image, matte = red_disc()
    options = RemoveOptions(channels=channels)
    for each in sets:
        options = replace(options, **each)
    backdrop = np.full((5, 7, 3), 77, np.uint8)
    expected, actual = (
        compose(image, edit(matte, image, each), each, backdrop).pixels for each in (options, options.effective())
    )
    assert np.array_equal(expected, actual)
    assert options.effective().effective() == options.effective()


@settings(max_examples=150, deadline=None)
@given(
    size=st.sampled_from(SIZES),
    options=st.sampled_from(SETS),
    channels=st.sampled_from(["rgba", "rgb", "alpha"]),
    seed=st.integers(0, 9),
)
def test_every_option_at_odd_sizes(size, options, channels, seed):
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    alpha = random.choice(np.array([0, 0, 5, 128, 255, 255], np.uint8), size)
    image = DecodedImage(rgb)
    matte = Matte(alpha, rgb, subject_box(alpha), 0.5, 0.1)
    chosen = replace(RemoveOptions(channels=channels), **options)
    if chosen.format == "zip" and channels == "alpha":
        return
    pixels = compose(image, edit(matte, image, chosen), chosen, np.full((9, 4, 3), 77, np.uint8)).pixels
    assert pixels.shape[2] == {"rgba": 4, "rgb": 3, "alpha": 1}[channels]
    if pixels.shape[2] == 4:
        assert not pixels[pixels[..., 3] == 0].any()
        if chosen.backdrop != "none":
            assert (pixels[..., 3] == 255).all()
    encoded = encode(ComposedImage(pixels), chosen.format, chosen.quality)
    assert (encoded.width, encoded.height) == (pixels.shape[1], pixels.shape[0])
