"""The ZIP output: color.jpg and alpha.png."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from clearcut.errors import InvalidOption
from clearcut.imaging.compose import compose
from clearcut.imaging.encode import encode
from clearcut.imaging.options import RemoveOptions
from clearcut.imaging.types import ComposedImage
from tests.support.scenes import RED, red_disc


def test_zip_has_color_and_alpha():
    image, matte = red_disc()
    encoded = encode(compose(image, matte, RemoveOptions(format="zip")), "zip")
    assert encoded.media_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(encoded.data)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        color = np.asarray(Image.open(archive.open("color.jpg"))).astype(int)
        alpha = np.asarray(Image.open(archive.open("alpha.png")))
    assert (alpha == matte.alpha).all()
    assert np.abs(color - RED).max() <= 6  # also under alpha 0: no blue anywhere
    assert encode(compose(image, matte, RemoveOptions(format="zip")), "zip").data == encoded.data


def test_zip_of_matte_alone_is_refused():
    with pytest.raises(InvalidOption):
        encode(ComposedImage(np.zeros((2, 2, 1), np.uint8)), "zip")
