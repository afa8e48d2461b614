"""HEIC files that are expensive for a careless reader are refused, and the largest valid ones are not."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest

from clearcut.errors import ClearcutError, SuspiciousStructure
from clearcut.imaging.decode import decode
from clearcut.imaging.formats.heif import hevc, hevc_input, hevc_library
from clearcut.imaging.formats.heif.heic import CODEC
from clearcut.imaging.formats.heif.images import read_image
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import heic_bombs, heif_files, hevc_expanding
from tests.support.hevc_images import CodedImage

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


def with_long_parameter_set(image: CodedImage) -> CodedImage:
    """Add a parameter set of 4 KiB to a configuration with three arrays of sets."""
    head, rest = image.configuration[:22], image.configuration[23:]
    extra = struct.pack(">BHH", 0x80 | 34, 1, 4096) + b"\x44\x01" + b"\x55" * 4094
    assert image.configuration[22] == 3
    return dataclasses.replace(image, configuration=head + b"\x04" + rest + extra)


def prepared(data: bytes) -> hevc_input.DecoderJob:
    view = memoryview(data)
    return hevc_input.prepare(view, read_image(view, ProbeLimits(), CODEC))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (36, 27)])
def test_parameter_sets_of_many_tiles_are_limited(rows: int, columns: int) -> None:
    """Each tile gets a copy of its parameter sets: 4 MB from a file of 57 KB."""
    image = with_long_parameter_set(hevc_expanding.gray(64, 64))
    width, height = 64 * columns, 64 * rows
    file = heif_files.File()
    body = heif_files.grid_data(rows, columns, width, height)
    main = file.add(b"grid", body, heif_files.ispe(width, height), heif_files.nclx())
    file.refer(b"dimg", main, *[file.add_image(image, heif_files.nclx()) for _ in range(rows * columns)])
    data = file.build()
    if rows == 1:
        assert 4096 < len(prepared(data).source) < len(data)
    else:
        assert len(data) < 60_000
        with pytest.raises(SuspiciousStructure, match="long parameter sets"):
            prepared(data)


@pytest.mark.parametrize(("chroma", "slices"), [(0, 15), (1, 20)])
def test_slices_of_large_images_are_limited(chroma: int, slices: int) -> None:
    """Gray images count twice, because those with black parts are decoded twice."""
    side = heic_bombs.SIDE
    prepared(heic_bombs.single(hevc_expanding.gray(side, side, chroma=chroma, slices=slices)))
    with pytest.raises(SuspiciousStructure, match="slices"):
        prepared(heic_bombs.single(hevc_expanding.gray(side, side, chroma=chroma, slices=slices + 1)))


def test_shared_configuration_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic_bombs.grid(20, 20, 1280, 1280, hevc_expanding.gray(64, 64))
    view = memoryview(data)
    image = read_image(view, ProbeLimits(), CODEC)
    calls = []

    def read_configuration(box: memoryview) -> hevc.Configuration:
        calls.append(box)
        return found(box)

    found = hevc.read_configuration
    monkeypatch.setattr(hevc, "read_configuration", read_configuration)
    hevc_input.prepare(view, image)
    assert len(calls) == 1


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
