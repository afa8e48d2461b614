import cv2
import numpy as np
import pytest

from clearcut.errors import CorruptImage, OutOfMemory
from clearcut.imaging.decode import decode
from clearcut.imaging.formats import opencv as module
from clearcut.imaging.libraries import memory_errors, silence_codec_stderr
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import samples


def test_every_librarys_word_for_no_memory_is_ours():
    with pytest.raises(OutOfMemory), memory_errors():
        raise MemoryError
    with pytest.raises(OutOfMemory), memory_errors():
        np.empty(1 << 60, np.uint8)
    no_memory = cv2.error("Insufficient memory")
    no_memory.code = cv2.Error.StsNoMem
    with pytest.raises(OutOfMemory), memory_errors():
        raise no_memory
    with pytest.raises(cv2.error), memory_errors():
        cv2.resize(np.zeros((0, 0), np.uint8), (1, 1))


@pytest.mark.parametrize("made", [samples.jpeg, samples.png, samples.webp])
def test_a_file_is_not_blamed_for_want_of_memory(monkeypatch, made):
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


def test_opencv_says_nothing_of_broken_files(capfd):
    silence_codec_stderr()
    broken = samples.webp(samples.corners())[:30]
    assert cv2.imdecode(np.frombuffer(broken, np.uint8), cv2.IMREAD_COLOR) is None
    assert "ERROR" not in capfd.readouterr().err
