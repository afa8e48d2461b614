"""Settings of the image libraries that hold for the whole process. Called once, at start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from clearcut.errors import OutOfMemory


def disable_opencv_threads() -> None:
    """Parallelism is the pool's: OpenCV's own threads, one per core in every worker, would only contend."""
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)


def silence_codec_stderr() -> None:
    """OpenCV writes its source's paths to standard error for each broken file; our own error says it all."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Each library's word for a failed allocation as ours.

    Raises:
        OutOfMemory: numpy, Pillow or OpenCV could not have the memory that it wanted.
    """
    try:
        yield
    except MemoryError as exc:
        raise OutOfMemory from exc
    except cv2.error as exc:
        if exc.code == cv2.Error.StsNoMem:
            raise OutOfMemory from exc
        raise
