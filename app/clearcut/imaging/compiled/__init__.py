"""Loading of this package's compiled libraries. They are optional: callers use OpenCV and NumPy without them.

``make setup``, ``make serve`` and the Dockerfiles compile them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Functions = TypeVar("Functions")


def load_library(path: Path, version: int, bind: Callable[[ctypes.CDLL], Functions]) -> Functions | None:
    """Load ``NAME.so`` and return ``bind(library)``.

    None if the library is not compiled or cannot be loaded, if ``NAME_version()`` is not ``version``, or if a function
    is missing.
    """
    try:
        library = ctypes.CDLL(str(path))
        return bind(library) if library[f"{path.stem}_version"]() == version else None
    except (OSError, AttributeError):
        return None
