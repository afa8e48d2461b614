"""Decoding errors of OpenCV."""

import pytest

from clearcut.errors import CorruptImage
from clearcut.imaging.decode import decode
from clearcut.imaging.formats import opencv as module
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import samples


@pytest.mark.parametrize("made", [samples.png, samples.webp])
def test_failed_allocation_is_not_a_corrupt_file(monkeypatch, made):
    data = made(samples.corners())
    header = probe(data, ProbeLimits())
    monkeypatch.setattr(module.cv2, "imdecode", lambda *_: None)
    with pytest.raises(CorruptImage):
        decode(data, header)

    def none_left(*_):
        raise MemoryError

    monkeypatch.setattr(module.np, "empty", none_left)
    with pytest.raises(MemoryError):
        decode(data, header)
