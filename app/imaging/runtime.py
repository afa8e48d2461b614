"""Settings of the image libraries that hold for the whole process. Called once, at start."""

from __future__ import annotations

import cv2


def one_thread_per_call() -> None:
    """Parallelism is the pool's: OpenCV's own threads, one per core in every worker, would only contend."""
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)


def say_nothing() -> None:
    """OpenCV writes its source's paths to standard error for each broken file; our own error says it all."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
