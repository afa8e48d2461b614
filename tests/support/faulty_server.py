"""The service with an injected fault: ``python -m tests.support.faulty_server FAULT FILE``.

The fault is active only while FILE exists, so startup and warm-up succeed. A fault with a parameter, such as the hours
by which the clock jumps, reads it from FILE. Everything else is ``python -m clearcut serve``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def with_fault(fault: str, is_active: Callable[[], bool], run: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``InferenceSession.run`` with a fault that is active while ``awake()`` is true."""
    calls = 0

    def faulty(session: Any, outputs: Any, feed: dict[str, np.ndarray], *args: Any) -> Any:
        nonlocal calls
        if not is_active():
            return run(session, outputs, feed, *args)
        match fault:
            case "raises":
                raise RuntimeError("a session that fails")
            case "raises-with-many":
                if len(next(iter(feed.values()))) > 1:
                    raise RuntimeError("a session that fails with more than one image")
                return run(session, outputs, feed, *args)
            case "hangs":
                time.sleep(3600)
            case "dies":
                raise SystemExit("a thread that ends")
            case "nan":
                return [np.full_like(run(session, outputs, feed, *args)[0], np.nan)]
            case "shape":
                return [run(session, outputs, feed, *args)[0][..., :-1]]
        raise AssertionError(fault)

    return faulty


def raising_memory_error(is_active: Callable[[], bool], step: Callable[..., Any]) -> Callable[..., Any]:
    def faulty(*args: Any, **options: Any) -> Any:
        if is_active():
            raise MemoryError
        return step(*args, **options)

    return faulty


def jumping_clock(file: Path, real: Callable[[], float]) -> Callable[[], float]:
    return lambda: real() + (3600 * float(file.read_text() or 0) if file.exists() else 0)


def inject(fault: str, file: Path) -> None:
    if fault == "clock":  # before the service is imported, because a module could keep a reference to the function
        time.time = jumping_clock(file, time.time)
        return
    import onnxruntime

    from clearcut import cutout

    match fault:
        case "decode" | "encode" | "refine":
            setattr(cutout, fault, raising_memory_error(file.exists, getattr(cutout, fault)))
        case _:
            session = onnxruntime.InferenceSession
            session.run = with_fault(fault, file.exists, session.run)


if __name__ == "__main__":
    inject(sys.argv[1], Path(sys.argv[2]))
    from clearcut.__main__ import main

    sys.exit(main(["serve"]))
