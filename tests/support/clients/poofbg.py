"""One environment for each version of the published ``poofbg`` client, created once in a folder that git ignores.

The client's packages are in one folder. Its driver runs on an interpreter without any other packages, so it cannot
import this project. Every package is pinned by hash.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.live_server import ROOT

CACHE = ROOT / ".cache" / "clients"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
POOFBG = {
    "0.1.0": "d75abc14c186806f26c08bfb23c7f7dabfb1728522fc2877d8264684a3ddb5f1",
    "0.2.0": "680c73cb665a3f5c3e954dae371fac74d2e8b6c525c0f30281ad17a4a9ddf973",
    "0.4.1": "369a6e8b9dcb9410f928597d30f6b2ab3e4b825bd34eacc86463b7a4029e3816",
}
"""sha256 of the wheel by version."""
_UNREACHABLE = ("Retrying (", "Connection", "Max retries", "from versions: none", "name resolution", "timed out")


class RegistryUnreachable(Exception):
    """pip could not fetch the packages, so the client cannot be tested."""


def environment_of(version: str) -> Path:
    """Return the folder with ``poofbg`` of this version and its dependencies. Install it if it is missing.

    Raises:
        RegistryUnreachable: It is missing and cannot be fetched.
    """
    requirements = f"{REQUIREMENTS.read_text()}poofbg=={version} --hash=sha256:{POOFBG[version]}\n"
    state = hashlib.sha256(f"{requirements}{sys.version_info[:2]}".encode()).hexdigest()[:12]
    folder = CACHE / f"poofbg-{version}-{state}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        listing, target = Path(name, "requirements.txt"), Path(name, "packages")
        listing.write_text(requirements)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += [
            "--retries",
            "1",
            "--timeout",
            "20",
            "--target",
            str(target),
            "--require-hashes",
            "-r",
            str(listing),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
        if done.returncode != 0:
            errors = done.stderr.strip()
            if any(sign in errors for sign in _UNREACHABLE):
                raise RegistryUnreachable(errors.splitlines()[-1])
            raise AssertionError(errors)
        into_place(target, folder)
    return folder


def into_place(target: Path, folder: Path) -> None:
    """Move the new folder to its final place, unless another process already created it."""
    try:
        target.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def drive(folder: Path, *arguments: str) -> str:
    """Run the driver with only the client's packages and return its output.

    Raises:
        AssertionError: The driver failed.
    """
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("poofbg_driver.py")), str(folder), *arguments]
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout
