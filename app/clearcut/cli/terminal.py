"""Output of the commands: results on standard output, messages and progress on standard error."""

from __future__ import annotations

import sys


def print_output(text: str, *, flush: bool = False) -> None:
    """Print a line on standard output."""
    print(text, flush=flush)  # noqa: T201 - command line output


def print_message(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - command line output


def show_progress(text: str) -> None:
    """Replace the progress line, the last line on standard error."""
    print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201 - command line output


def end_progress() -> None:
    """Keep the progress line, and start a new one."""
    print_message("")
