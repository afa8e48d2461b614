"""Process-wide settings of the image libraries, applied once at start, and their out-of-memory errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from PIL import AvifImagePlugin

from clearcut.errors import OutOfMemory


def disable_codec_threads() -> None:
    """Turn off the own threads of OpenCV and of the AVIF decoder.

    The thread pool runs images in parallel, and both would compete for cores.
    """
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    cv2.ocl.setUseOpenCL(False)


def silence_codec_stderr() -> None:
    """Stop OpenCV from writing to standard error for each damaged file; the service reports its own error."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Translate the allocation errors of NumPy, Pillow and OpenCV.

    Raises:
        OutOfMemory: an allocation failed.
    """
    try:
        yield
    except MemoryError as exc:
        raise OutOfMemory from exc
    except cv2.error as exc:
        if exc.code == cv2.Error.StsNoMem:
            raise OutOfMemory from exc
        raise
