"""Helpers for tests of ``clearcut cut``."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Finished:
    """A finished command."""

    code: int
    errors: str
    """Standard error."""


Run = Callable[..., Finished]


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def outputs(folder: Path) -> list[str]:
    """Return all files of a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
