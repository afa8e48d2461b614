"""Clearcut: self-hosted background removal, as an HTTP service, a command and a Python API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Remover as Remover
    from .api import RemoverResult as RemoverResult
    from .api import remove as remove

# ONNX Runtime sends usage data to its publisher and stores a device ID, unless this is set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Remover", "RemoverResult", "__version__", "remove"]


def __getattr__(name: str) -> Any:
    """Load the Python API at its first use, so that ``import clearcut`` stays fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("clearcut.api"), name)
