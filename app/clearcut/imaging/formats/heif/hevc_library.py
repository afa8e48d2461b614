"""Where the HEVC decoder is: in the FFmpeg library that the wheels of OpenCV for Linux contain."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from pathlib import Path

OLDEST, NEXT_MAJOR = (62, 28, 101), (63, 0, 0)
"""Versions of libavcodec that are used: FFmpeg 8.1.1 and later 8.x. Another major version can have other structures."""
_NAME = re.compile(r"libavcodec.*\.so\.(\d+)\.(\d+)\.(\d+)")


@functools.cache
def find_library() -> str | None:
    """Return the path of the library; None if this system has none, or cannot confine a process."""
    if sys.platform != "linux" or not sys.executable:
        return None
    try:
        from .hevc_process import confinement
    except ImportError:  # a Python without the module ``resource``
        return None
    package = importlib.util.find_spec("cv2")
    if package is None or package.origin is None or not confinement.is_supported():
        return None
    return newest_library(Path(package.origin).parents[1])


def newest_library(packages: Path) -> str | None:
    """Return the newest usable library in a folder of installed packages."""
    usable = []
    for path in packages.glob("opencv_*.libs/libavcodec*.so.*"):
        found = _NAME.fullmatch(path.name)
        version = tuple(map(int, found.groups())) if found else ()
        if OLDEST <= version < NEXT_MAJOR:
            usable.append((version, str(path)))
    return max(usable)[1] if usable else None
