import cv2
import numpy as np
import pytest
from PIL import Image

from clearcut.errors import CorruptImage, OutOfMemory
from clearcut.imaging.codec_setup import memory_errors, silence_codec_stderr
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import samples


def test_allocation_errors_are_translated():
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


def test_opencv_is_silent_for_damaged_files(capfd):
    silence_codec_stderr()
    broken = samples.webp(samples.corners())[:30]
    assert cv2.imdecode(np.frombuffer(broken, np.uint8), cv2.IMREAD_COLOR) is None
    assert "ERROR" not in capfd.readouterr().err


def test_libtiff_is_silent_for_damaged_files(capfd):
    silence_codec_stderr()
    data = bytearray(samples.saved(Image.fromarray(samples.corners()), "TIFF", compression="tiff_adobe_deflate"))
    header = probe(bytes(data), ProbeLimits())
    at = data.index(b"\x78")
    data[at + 4 : at + 40] = b"\xff" * 36
    with pytest.raises(CorruptImage):
        decode(bytes(data), header)
    assert capfd.readouterr().err == ""
