"""Puts ``app/`` on PYTHONPATH, so that subprocesses of tests import this checkout if ``pytest`` runs alone.

The first server of a run measures its model. The others reuse the measurement, as with ``make serve``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import httpcore2
import pytest

from tests.support.live_server import Server

ROOT = Path(__file__).resolve().parents[1]
PATHS = [str(ROOT / "app"), str(ROOT)]

os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([*PATHS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)


@pytest.fixture(scope="session", autouse=True)
def plan_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all servers of this run one folder for the plans of their models."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all processes
    Server.plan_cache = folder / "plans"
    yield
    Server.plan_cache = None


@pytest.fixture(scope="session", autouse=True)
def tls_context() -> Iterator[None]:
    """Read the system's certificates once in each process, not for each HTTP client. This takes 30 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", functools.cache(httpcore2.default_ssl_context))
        yield
