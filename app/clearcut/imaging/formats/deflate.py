"""The zlib implementation for PNG: ISA-L, which is several times faster than zlib, or zlib on other platforms."""

from __future__ import annotations

import zlib
from typing import Any

_isal: Any
try:
    from isal import isal_zlib as _isal
except ImportError:  # no wheel for this platform: zlib takes four times as long
    _isal = None

deflate: Any = _isal if _isal is not None else zlib
"""A module with the functions of ``zlib``."""
