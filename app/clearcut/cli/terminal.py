"""Output of the commands: results on standard output, messages and progress on standard error."""

from __future__ import annotations

import sys

_ERASE_END = "\x1b[K"
"""Erases the line from the cursor to its end."""
_ERASE_LINE = f"\r{_ERASE_END}"


def print_output(text: str, *, flush: bool = False) -> None:
    """Print a line on standard output."""
    print(text, flush=flush)  # noqa: T201 - command line output


def print_message(text: str, *, replace_progress: bool = False) -> None:
    """Print a line on standard error.

    Args:
        replace_progress: erase the progress line first.
    """
    print(f"{_ERASE_LINE if replace_progress else ''}{text}", file=sys.stderr, flush=True)  # noqa: T201 - command line output


def show_progress(text: str) -> None:
    """Replace the progress line, the last line on standard error."""
    print(f"\r{text}{_ERASE_END}", end="", file=sys.stderr, flush=True)  # noqa: T201 - command line output


def end_progress() -> None:
    """End the progress line."""
    print_message("")
