"""Common fields of every stored result: question, command, date, machine, versions."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "onnxruntime-gpu", "onnxruntime", "opencv-python-headless", "pillow", "numpy", "isal", "uvicorn", "starlette",
    "ray",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Return what a reader needs to know about the machine, without host name or paths."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "load_1min": round(os.getloadavg()[0], 2)}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def write(name: str, question: str, command: str, machine: dict[str, Any], figures: dict[str, Any]) -> Path:
    """Write ``results/NAME.json``. ``machine`` is ``machine()`` from before the measurement."""
    path = RESULTS / f"{name}.json"
    head = {
        "question": question,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine,
        "versions": versions(),
    }
    path.write_text(json.dumps(head | figures, indent=2) + "\n")
    return path
