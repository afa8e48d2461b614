"""Common fields of every stored result: question, command, date, machine, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("onnxruntime-gpu", "opencv-python-headless", "pillow", "numpy", "isal", "uvicorn", "starlette")


def machine() -> dict[str, Any]:
    """Return the facts about the machine that a reader needs, without host name or paths."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "load_1min": round(os.getloadavg()[0], 2)}


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def write(name: str, question: str, command: str, facts: dict[str, Any], figures: dict[str, Any]) -> Path:
    """Write ``results/NAME.json``. ``facts`` is ``machine()`` from before the measurement."""
    path = RESULTS / f"{name}.json"
    head = {
        "question": question,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": facts,
        "versions": versions(),
    }
    path.write_text(json.dumps(head | figures, indent=2) + "\n")
    return path
