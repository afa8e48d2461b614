"""Loading of this package's compiled libraries, types of their functions, and checks of their arrays.

The libraries are optional: callers use OpenCV and NumPy without them.
``make setup``, ``make serve`` and the Dockerfiles compile them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

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


def declare(function: Any, result: type | None, *arguments: type) -> Callable[..., Any]:
    """Set the types of a library's function, and return the function.

    Args:
        function: an attribute of the library.
        result: type of the result; None for a function without one.
        arguments: type of each argument, in order.
    """
    function.restype, function.argtypes = result, arguments
    declared: Callable[..., Any] = function
    return declared


def require_array(values: np.ndarray, dtype: npt.DTypeLike, shape: tuple[int, ...], *, is_output: bool = False) -> None:
    """Require a type, a shape, and rows without gaps.

    Args:
        is_output: whether the library writes to the array.

    Raises:
        ValueError: the array is different, or it is an output and read-only.
    """
    if values.dtype != dtype or values.shape != shape or not values[:1].flags.c_contiguous:
        raise ValueError(f"expected {np.dtype(dtype)}{list(shape)} with packed rows")
    if is_output and not values.flags.writeable:
        raise ValueError("expected an array that can be written to")
