"""Region, threshold and reversal."""

import numpy as np
import pytest

from clearcut.errors import InvalidOption
from clearcut.imaging.edit import edit
from clearcut.imaging.options import Length, RemoveOptions, Roi
from tests.support.scenes import red_disc


def test_threshold_makes_matte_binary():
    image, matte = red_disc()
    cut = edit(matte, image, RemoveOptions(threshold=0.5))
    assert set(np.unique(cut.alpha)) == {0, 255}
    assert ((cut.alpha == 255) == (matte.alpha >= 128)).all()
    assert (cut.foreground == image.rgb).all()
    assert cut.ambiguous_ratio == 0


@pytest.mark.parametrize(("threshold", "least"), [(1.0, 255), (0.001, 1), (0.5, 128)])
def test_threshold_boundaries(threshold, least):
    image, matte = red_disc()
    cut = edit(matte, image, RemoveOptions(threshold=threshold))
    assert ((cut.alpha == 255) == (matte.alpha >= least)).all()


def test_roi_clears_everything_outside():
    image, matte = red_disc()
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
        Roi(Length(0.5, relative=True), Length(0), Length(20), Length(10)),
        Roi(Length(0), Length(41), Length(20), Length(0.5, relative=True)),
    ],
)
def test_invalid_roi_is_refused(roi):
    image, matte = red_disc()
    with pytest.raises(InvalidOption) as caught:
        edit(matte, image, RemoveOptions(roi=roi))
    assert caught.value.option == "roi"


def test_reversed_roi_names_order_and_pixels():
    """The image has 120 x 80 pixels."""
    image, matte = red_disc()
    roi = Roi(Length(0.5, relative=True), Length(0), Length(20), Length(10))
    with pytest.raises(InvalidOption) as caught:
        edit(matte, image, RemoveOptions(roi=roi))
    assert caught.value.details == (
        "Invalid value for 'roi'. Expected: left top right bottom, with left less than right and top less than bottom; "
        "this region is 60 0 20 10 in pixels"
    )


def test_reverse_twice_restores_alpha():
    image, matte = red_disc()
    cut = edit(matte, image, RemoveOptions(reverse=True))
    assert (cut.alpha == 255 - matte.alpha).all()
    assert cut.box.width == 120
    again = edit(cut, image, RemoveOptions(reverse=True))
    assert (again.alpha == matte.alpha).all()


def test_no_edit_returns_same_matte():
    image, matte = red_disc()
    assert edit(matte, image, RemoveOptions()) is matte
