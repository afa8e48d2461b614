"""A model's file: where it lies, whether it is the one meant, and what is pinned beside it.

The manifest has a sha256 for the files that are in this repository. Of others their publisher may give only an md5,
and no golden answer is known until someone has the file. ``python -m clearcut models pull`` therefore writes a pin
beside
what it fetched, ``FILE.pin.toml``: the sha256 of the bytes that had the md5, and the golden answer they give on this
machine. From then on the file must have both hashes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from clearcut.errors import StartupError

from .manifest import (
    MANIFEST,
    SHA256,
    Golden,
    ModelEntry,
    Precision,
    find_entry,
    golden_of,
    models_folder,
    read_manifest,
)
from .toml_table import read_document


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An entry with its file's content, which has the entry's hash."""

    entry: ModelEntry
    path: Path
    data: bytes


@dataclass(frozen=True, slots=True)
class Pin:
    """What is known of one file since it was fetched or made here."""

    sha256: str
    golden: Golden | None


def load_model(
    name: str, models_dir: Path | None = None, extra_dir: Path | None = None, precision: Precision = "fp32"
) -> ModelFile:
    """Find ``name`` in the manifest and read its file, from ``models_dir`` or else from ``extra_dir``.

    The hash is taken of the very bytes that are handed out, so nothing can change between check and use.

    Raises:
        StartupError: the manifest is missing or malformed, the name unknown, the file missing or not the one meant.
    """
    folder = models_dir or models_folder()
    entry = find_entry(read_manifest(folder / MANIFEST), name, precision)
    folders = [folder] if extra_dir is None else [folder, extra_dir]
    path = locate(entry, folders)
    if path is None:
        looked = " nor in ".join(str(each) for each in folders)
        raise StartupError(
            f"Model '{name}': file {entry.file} is not in {looked}. {_how(entry)}, or name its folder with "
            "CLEARCUT_MODEL_DIR"
        )
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise StartupError(f"Model '{name}': {path} cannot be read: {exc.strerror}") from exc
    return ModelFile(verify_model(entry, path, data), path, data)


def locate(entry: ModelEntry, folders: list[Path]) -> Path | None:
    """The entry's file in the first folder that has it."""
    return next((found for found in (each / entry.file for each in folders) if found.is_file()), None)


def verify_model(entry: ModelEntry, path: Path, data: bytes) -> ModelEntry:
    """The entry, if ``data`` is its file, with the pin's golden answer where it has none of its own.

    Raises:
        StartupError: the hash is neither of the entry's, or not the pin's.
    """
    pin, digest = read_pin(path), hashlib.sha256(data).hexdigest()
    if fault := hash_mismatch(entry, data, digest):
        raise StartupError(
            f"Model '{entry.name}': {path} has {fault}. The file is damaged or another version: replace it with the "
            f"one meant ({entry.source})"
        )
    if pin is None and entry.recipe and entry.sha256 is None:
        raise StartupError(f"Model '{entry.name}': {path} has no pin beside it. {_how(entry)}")
    if entry.sha256 != digest and pin is not None and pin.sha256 != digest:
        raise StartupError(
            f"Model '{entry.name}': {path} has sha256 {digest}, but {pin.sha256} was pinned when it was put here. If "
            f"it was replaced on purpose, run `python -m clearcut models pin {entry.name}`"
        )
    if entry.golden is None and pin is not None:
        return replace(entry, sha256=digest, golden=pin.golden)
    return replace(entry, sha256=digest)


def hash_mismatch(entry: ModelEntry, data: bytes, digest: str) -> str | None:
    """How the file's hash differs from the manifest's, or None when one of them is right."""
    if entry.sha256 is None and entry.md5 is None:
        return None  # made on this machine: the pin tells
    if digest == entry.sha256:
        return None
    if entry.md5 is None:
        return f"sha256 {digest}, the manifest says {entry.sha256}"
    other = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if other == entry.md5:
        return None
    also = f" or sha256 {entry.sha256}" if entry.sha256 else ""
    return f"md5 {other}, the manifest says {entry.md5}{also}"


def pin_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.pin.toml")


def read_pin(path: Path) -> Pin | None:
    """What is pinned beside a model's file, if anything.

    Raises:
        StartupError: the pin is damaged.
    """
    pin = pin_path(path)
    if not pin.is_file():
        return None
    table = read_document(pin, "Pin")
    return Pin(table.text("sha256", SHA256), golden_of(table))


def write_pin(path: Path, pin: Pin) -> None:
    """Pin a file. Replaces an earlier pin."""
    pin_path(path).write_text(
        f'sha256 = "{pin.sha256}"\n' + (f"\n{golden_lines('golden', pin.golden)}" if pin.golden else "")
    )


def golden_lines(name: str, golden: Golden) -> str:
    """A golden answer as the TOML table ``name``."""
    rows = "\n".join("    [" + ", ".join(f"{value:.3f}" for value in row) + "]," for row in golden.grid)
    return f"[{name}]\ntolerance = {golden.tolerance:g}\ngrid = [\n{rows}\n]\n"


def _how(entry: ModelEntry) -> str:
    if entry.recipe:
        return f"Make it: {entry.recipe}"
    if entry.addresses:
        return f"Fetch it: python -m clearcut models pull {entry.name}"
    return f"Fetch it from {entry.source} (see docs/models.md)"
