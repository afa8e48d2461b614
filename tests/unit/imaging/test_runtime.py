import cv2
import numpy as np
import pytest

from app.errors import CorruptImage, OutOfMemory
from app.imaging import decode as module
from app.imaging.decode import decode
from app.imaging.probe import probe
from app.imaging.runtime import memory_errors, say_nothing
from app.imaging.types import ProbeLimits
from tests import samples


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
    say_nothing()
    broken = samples.webp(samples.corners())[:30]
    assert cv2.imdecode(np.frombuffer(broken, np.uint8), cv2.IMREAD_COLOR) is None
    assert "ERROR" not in capfd.readouterr().err
