import numpy as np
import pytest

from clearcut.imaging.matting.refine import subject_box
from clearcut.imaging.matting.subject_facts import subject_facts
from clearcut.imaging.types import DecodedImage, Matte


def facts(alpha, level=255):
    rgb = np.full((*alpha.shape, 3), level, np.uint8)
    rgb[alpha > 0] = (200, 30, 30)
    return subject_facts(DecodedImage(rgb), Matte(alpha, rgb, subject_box(alpha), 1.0, 0.0))


def box(top, bottom, left, right, height=60, width=80):
    alpha = np.zeros((height, width), np.uint8)
    alpha[top:bottom, left:right] = 255
    return alpha


def test_fill_counts_translucent_pixels_in_part():
    assert facts(box(0, 30, 0, 80)).fill == pytest.approx(0.5)
    assert facts(box(0, 30, 0, 80) // 2).fill == pytest.approx(0.25, abs=0.01)
    assert facts(box(0, 0, 0, 0)).fill == 0


@pytest.mark.parametrize(
    ("alpha", "touches"),
    [
        (box(10, 20, 10, 20), ()),
        (box(0, 20, 10, 20), ("top",)),
        (box(10, 60, 0, 20), ("bottom", "left")),
        (box(0, 60, 0, 80), ("top", "right", "bottom", "left")),
    ],
)
def test_touches_names_the_borders(alpha, touches):
    assert facts(alpha).touches == touches


def test_white_subject_is_not_white_background():
    assert facts(box(10, 20, 10, 20)).white_background
    assert not facts(box(10, 20, 10, 20), level=240).white_background
    assert not facts(box(0, 60, 0, 80)).white_background


def test_white_background_allows_noise_and_a_soft_edge():
    alpha = box(20, 40, 20, 60)
    rgb = np.random.default_rng(1).integers(246, 256, (60, 80, 3)).astype(np.uint8)
    rgb[19:41, 19:61] = (200, 30, 30)  # one pixel more than the matte covers
    rgb[0, :30] = 200

    def white():
        return subject_facts(DecodedImage(rgb), Matte(alpha, rgb, subject_box(alpha), 1.0, 0.0)).white_background

    assert white()
    rgb[:4] = 200
    assert not white()


def test_header_is_a_structured_dictionary():
    flags = "white-background=?1, plain-background=?0"
    assert facts(box(0, 30, 0, 80)).header() == f'fill=0.500, touches=("top" "right" "left"), {flags}'


@pytest.mark.parametrize("size", [(1, 1), (1, 999), (999, 1), (16384, 2)])
def test_every_size(size):
    assert facts(np.full(size, 255, np.uint8)).fill == 1
