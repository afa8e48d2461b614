"""Types of command-line arguments, for ``type=`` of ``add_argument``. Errors name the expected value."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

_MAX_DIGITS = 20


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """Return a parser of numbers from ``least`` to ``most``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}")
        return value

    return parse


def non_empty(text: str) -> str:
    """Parse a text with at least one character that is no white space."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a name, got an empty text")
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser of the words in ``choices``."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"expected {', '.join(choices[:-1])} or {choices[-1]}")
        return text

    return parse


def file_path(text: str) -> Path:
    """Parse a path, which may not be empty."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return Path(text)
