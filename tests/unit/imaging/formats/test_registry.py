"""The format registry: every format is complete, unique and usable."""

import numpy as np
import pytest

from clearcut.imaging.encode import encode
from clearcut.imaging.formats import registry
from clearcut.imaging.formats.unsupported import describe
from clearcut.imaging.types import ComposedImage
from tests.support import samples


@pytest.mark.parametrize("attribute", ["name", "title", "media_type", "extension"])
def test_names_are_unique(attribute):
    values = [getattr(each, attribute) for each in registry.FORMATS]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("made", [samples.jpeg, samples.png, samples.webp])
def test_signature_detects_its_format(made):
    found = registry.detect_format(memoryview(made(samples.corners())))
    assert found is not None
    assert found.reader is not None
    assert found.name == made.__name__


@pytest.mark.parametrize("name", [name for name in registry.WRITERS if registry.WRITERS[name].is_image])
def test_writer_gives_its_media_type(name):
    channels = 4 if registry.WRITERS[name].has_alpha else 3
    encoded = encode(ComposedImage(np.full((3, 5, channels), 200, np.uint8)), name)
    assert encoded.media_type == registry.MEDIA_TYPES[name]
    assert encoded.format == name
    found = registry.detect_format(memoryview(encoded.data).cast("B"))
    assert found is None or found.media_type == encoded.media_type


def test_output_only_format_has_no_signature():
    archive = bytes(encode(ComposedImage(np.zeros((2, 2, 4), np.uint8)), "zip").data)
    assert registry.detect_format(memoryview(archive)) is None
    assert describe(memoryview(archive)).name == "ZIP archive"


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "zip"])
def test_output_formats_of_the_contract(name):
    assert name in registry.WRITERS
