"""Process-wide settings of the image libraries, applied once at start, and their out-of-memory errors."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import cv2
from PIL import AvifImagePlugin, _imaging

from clearcut.errors import OutOfMemory


def disable_codec_threads() -> None:
    """Turn off the own threads of OpenCV and of the AVIF decoder.

    The thread pool runs images in parallel, and both would compete for cores.
    """
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    cv2.ocl.setUseOpenCL(False)


def silence_codec_stderr() -> None:
    """Stop OpenCV and libtiff from writing to standard error for each damaged file; the service reports its own error.

    Pillow has no switch for libtiff's messages, so libtiff's own function is called in the library that Pillow loaded.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with suppress(OSError, AttributeError):  # a build of Pillow without libtiff
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            set_handler = getattr(library, name)
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)


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
