"""Clearcut: self-hosted background removal, as an HTTP service, a command and a Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import CutResult as CutResult
    from .api import Remover as Remover
    from .api import remove as remove

__version__ = "0.1.0"
__all__ = ["CutResult", "Remover", "__version__", "remove"]


def __getattr__(name: str) -> Any:
    """Load the Python API at its first use, so that ``import clearcut`` stays fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("clearcut.api"), name)
