"""The end of the server process while threads still run."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress


def exit_if_threads_run(code: int) -> None:
    """Write the log and end the process with ``code`` if a daemon thread still runs; otherwise return.

    After a second signal, threads can still process images. When such a thread returns from C++ code, a Python
    interpreter that shuts down ends the thread. The C++ library then aborts the process with SIGABRT.
    """
    if not any(thread.daemon for thread in threading.enumerate()):
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has closed the pipe, or the stream is closed
            stream.flush()
    os._exit(code)
