"""HEIC files that are expensive for a careless reader are refused, and the largest valid ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from clearcut.errors import ClearcutError
from clearcut.imaging.decode import decode
from clearcut.imaging.formats.heif import hevc_library
from clearcut.imaging.formats.heif.heic import CODEC
from clearcut.imaging.formats.heif.images import read_image
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import heic_bombs, heif_files, hevc_expanding

needs_decoder = pytest.mark.skipif(hevc_library.find_library() is None, reason="this system has no HEIC decoder")


@pytest.mark.parametrize("name", heic_bombs.REFUSED)
def test_bombs_are_refused_before_decoding(name: str) -> None:
    make, reason = heic_bombs.REFUSED[name]
    with pytest.raises(ClearcutError) as caught:
        read_image(memoryview(make()), ProbeLimits(), CODEC)
    assert caught.value.reason == reason


@needs_decoder
@pytest.mark.parametrize("name", heic_bombs.UNDECODABLE)
def test_bombs_with_valid_headers_are_refused(name: str) -> None:
    make, reason = heic_bombs.UNDECODABLE[name]
    data = make()
    header = probe(data, ProbeLimits())
    with pytest.raises(ClearcutError) as caught:
        decode(data, header)
    assert caught.value.reason == reason


@needs_decoder
@pytest.mark.parametrize("chroma", [0, 1, 3])
@pytest.mark.parametrize("bits", [8, 12])
def test_generated_streams_decode(chroma: int, bits: int) -> None:
    """The encoder of the bombs writes valid streams: predicted gray of the middle level."""
    data = heic_bombs.single(hevc_expanding.gray(256, 128, chroma=chroma, bits=bits), heif_files.nclx())
    image = decode(data, probe(data, ProbeLimits()))
    np.testing.assert_array_equal(image.rgb, np.full((128, 256, 3), 128))


@needs_decoder
def test_several_slices_are_accepted() -> None:
    """Equal tiles and overlapping slices are unusual, but small ones do no harm."""
    image = hevc_expanding.gray(512, 512, slices=60)
    data = heic_bombs.grid(2, 2, 1024, 1024, image)
    assert decode(data, probe(data, ProbeLimits())).rgb.shape == (1024, 1024, 3)
