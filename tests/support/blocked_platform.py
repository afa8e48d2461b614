"""Runs the ``clearcut`` command without the modules and functions that some platforms lack.

``python -m tests.support.blocked_platform serve`` is ``python -m clearcut serve`` on a Python with as few modules and
functions as that of Windows.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

MODULES = ("uvloop", "fcntl", "termios", "resource", "pwd", "grp", "isal")
OS_FUNCTIONS = ("sysconf", "setpriority", "getpriority", "nice", "sched_getaffinity", "register_at_fork", "fork")
SIGNALS = ("SIGPIPE", "SIGHUP", "SIGUSR1", "SIGUSR2")


def block() -> None:
    """Remove the modules and functions from this process."""
    sys.modules.update(dict.fromkeys(MODULES))  # None makes an import fail
    for name in OS_FUNCTIONS:
        delattr(os, name)
    for name in SIGNALS:
        delattr(signal, name)
    load = ctypes.CDLL.__init__

    def refuse_main_program(self: ctypes.CDLL, name: str | None, *args: Any, **kwargs: Any) -> None:
        if name is None:  # the functions of the C library, such as mallopt
            raise TypeError("expected a file name")
        load(self, name, *args, **kwargs)

    ctypes.CDLL.__init__ = refuse_main_program  # type: ignore[method-assign]


if __name__ == "__main__":
    block()
    from clearcut.__main__ import main

    sys.exit(main())
