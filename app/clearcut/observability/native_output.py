"""Lines that native libraries write to standard error, such as libpng for each damaged file, become log lines.

These libraries write to file descriptor 2 and have no setting against it. The descriptor is therefore a pipe while the
service runs, and Python's ``sys.stderr`` writes to the original target. A process that crashes loses its last native
lines; Python's fault handler still writes to the original target.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("clearcut")

_STDERR = 2
_MAX_LINE = 300
"""Characters of a line that are reported."""
_JOIN_S = 2.0
_CODEC = re.compile(
    r"libpng |libjpeg|Corrupt JPEG|Premature end|Invalid SOS|Warning: unknown JFIF|Unknown Adobe|Inconsistent prog"
    r"|Unsupported (marker|JPEG)|TIFF|_TIFF|libheif|libtiff|JPEGLib|[A-Za-z]*: Warning|.*\b(imgcodecs|grfmt_)"
)
"""Messages of image codecs about an input. The service reports its own error for it."""


def log_line(line: str) -> None:
    """Log a native line: messages of codecs at level debug, all others as warnings."""
    level = logging.DEBUG if is_codec_message(line) else logging.WARNING
    log.log(level, "native message", extra={"fields": {"text": line[:_MAX_LINE]}})


def print_line(line: str) -> None:
    """Print a native line to standard error, unless it is a message of a codec."""
    if not is_codec_message(line):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - command line output


def is_codec_message(line: str) -> bool:
    return _CODEC.match(line) is not None


@contextmanager
def capture_native_output(report: Callable[[str], None]) -> Iterator[None]:
    """Call ``report`` with each line that is written to file descriptor 2, on a thread of its own.

    A decoder never waits for the reader: lines beyond the size of the pipe are lost. Does nothing on Windows.
    """
    if sys.platform == "win32":
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sys.stderr.flush()
    original = os.dup(_STDERR)
    os.dup2(writer, _STDERR)
    os.close(writer)
    previous = sys.stderr
    target = os.fdopen(original, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    if previous is sys.__stderr__:  # else a program has replaced it, and it does not write to the descriptor
        sys.stderr = target
        if faulthandler.is_enabled():
            faulthandler.enable(file=target)
    thread = threading.Thread(target=_read, args=(reader, report), name="native-output", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(original, _STDERR)  # closes the pipe, which ends the thread
        thread.join(_JOIN_S)
        if sys.stderr is target:
            sys.stderr = previous
            if faulthandler.is_enabled():
                faulthandler.enable(file=previous)
        target.close()


def _read(reader: int, report: Callable[[str], None]) -> None:
    with os.fdopen(reader, "rb") as pipe:
        for raw in pipe:
            if line := raw.decode("utf-8", "backslashreplace").strip():
                report(line)
