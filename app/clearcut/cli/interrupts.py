"""Ctrl-C and SIGTERM for commands that write files.

The process ends at once while nothing has begun, such as during imports. While files are processed, the first signal
raises KeyboardInterrupt on the main thread, and the second one ends the process at once without partial files.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator, MutableSet
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells report it."""


class InterruptHandler:
    """A handler for ``signal.signal``."""

    def __init__(self) -> None:
        self._raises = False
        self._partial_files: MutableSet[Path] = set()

    def install(self) -> None:
        """Handle SIGINT and SIGTERM from now on. Call this on the main thread."""
        signal.signal(signal.SIGINT, self)
        signal.signal(signal.SIGTERM, self)
        # Python restores the default handlers at its end, and a signal would then replace the exit code.
        atexit.register(self._ignore)

    def _ignore(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt
        for path in list(self._partial_files):
            path.unlink(missing_ok=True)
        os._exit(INTERRUPTED)  # does not wait for threads that read or send data

    @contextmanager
    def processing(self, partial_files: MutableSet[Path]) -> Iterator[None]:
        """Raise KeyboardInterrupt at the first signal within the block.

        Args:
            partial_files: files that a second signal deletes; the set may change.
        """
        self._raises, self._partial_files = True, partial_files
        try:
            yield
        finally:
            self._raises = False
