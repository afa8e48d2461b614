"""Loading of this package's compiled libraries. They are optional: callers use OpenCV and NumPy without them.

``make setup``, ``make serve`` and the Dockerfiles compile them.
"""

from __future__ import annotations

import ctypes
from pathlib import Path


def load_library(path: Path, version: int) -> ctypes.CDLL | None:
    """Load ``NAME.so``; None if it is not compiled, cannot be loaded, or ``NAME_version()`` is not ``version``."""
    try:
        library = ctypes.CDLL(str(path))
        return library if library[f"{path.stem}_version"]() == version else None
    except (OSError, AttributeError):
        return None
