"""Environments for the published clients of remove.bg: ``removebg`` from PyPI and ``remove.bg`` from npm."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.clients.poofbg import CACHE, RegistryUnreachable, into_place

REMOVEBG_PIP = """\
removebg==0.04
requests==2.34.2
urllib3==2.8.0
idna==3.20
certifi==2026.10.18
charset-normalizer==3.5.2
"""
REMOVEBG_NPM = "remove.bg@1.3.0"
REMOVEBG_NPM_SHA256 = "c04fbab7a127d629b21205b7fcf78b70855bf61034fc3f5d4207a7a2aee233e9"
"""sha256 of ``dist/index.js``."""
ENDPOINT = "https://api.remove.bg/v1.0/removebg"
"""Constant in that file: the URL that the client calls."""
_PATIENCE_S = 100


def removebg_of_pypi() -> Path:
    """Return the folder with PyPI's removebg and its dependencies. Install it if it is missing.

    Raises:
        RegistryUnreachable: It is missing and cannot be fetched.
    """

    def install(target: Path) -> None:
        listing = target.with_name("requirements.txt")
        listing.write_text(REMOVEBG_PIP)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*command, "--retries", "1", "--timeout", "20", "--target", str(target), "-r", str(listing)])

    return _cached("removebg-" + hashlib.sha256(REMOVEBG_PIP.encode()).hexdigest()[:12], install)


def removebg_of_npm() -> Path:
    """Return the ``node_modules`` folder with npm's remove.bg. Install it if it is missing.

    Raises:
        RegistryUnreachable: It is missing and cannot be fetched.
    """

    def install(target: Path) -> None:
        target.mkdir()
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--loglevel=error"]
        _run(["npm", "install", *options, "--prefix", str(target), REMOVEBG_NPM])

    modules = _cached(REMOVEBG_NPM, install) / "node_modules"
    found = hashlib.sha256((modules / "remove.bg/dist/index.js").read_bytes()).hexdigest()
    assert found == REMOVEBG_NPM_SHA256, "the package is not the one that was published"
    return modules


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S, cwd=CACHE)
    except subprocess.TimeoutExpired:
        raise RegistryUnreachable(f"no answer within {_PATIENCE_S} s") from None
    if done.returncode != 0:
        raise RegistryUnreachable((done.stderr.strip() or "it failed without a word").splitlines()[-1])


def _cached(name: str, install) -> Path:
    folder = CACHE / name
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as workplace:
            target = Path(workplace, "made")
            install(target)
            into_place(target, folder)
    return folder


def bare() -> dict[str, str]:
    """Return the environment variables of a client, without any of this project."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
