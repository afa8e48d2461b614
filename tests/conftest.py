"""Puts ``app/`` on PYTHONPATH, so that subprocesses of tests import this checkout if ``pytest`` runs alone."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATHS = [str(ROOT / "app"), str(ROOT)]

os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([*PATHS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)
