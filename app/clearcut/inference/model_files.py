"""Model files: where they are, whether they are the right ones, and their pins.

The manifest has a SHA-256 for each file in this repository. Publishers of other files may give only an MD5, and no
golden output is known until the file is on this machine. ``clearcut models pull`` therefore writes a pin beside the
file, ``FILE.pin.toml``: the SHA-256 of the bytes that matched the MD5, and their golden output. From then on the file
must match both hashes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from clearcut.errors import StartupError

from .hashes import hash_mismatch
from .manifest import MANIFEST, ModelEntry, Precision, find_entry, models_folder, read_manifest
from .manifest_schema import Golden, Pin, read_toml


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An entry with the verified content of its file."""

    entry: ModelEntry
    path: Path
    data: bytes


def load_model(
    name: str, models_dir: Path | None = None, extra_dir: Path | None = None, precision: Precision = "fp32"
) -> ModelFile:
    """Find a model in the manifest and read its file.

    The hash is computed from the returned bytes, so the file cannot change between check and use.

    Args:
        name: of the model.
        models_dir: folder of the manifest and of model files; None selects ``models_folder()``.
        extra_dir: second folder for model files.
        precision: of the variant.

    Raises:
        StartupError: the manifest is missing or invalid, the name is unknown, or the file is missing or has another
            hash.
    """
    folder = models_dir or models_folder()
    entry = find_entry(read_manifest(folder / MANIFEST), name, precision)
    folders = [folder] if extra_dir is None else [folder, extra_dir]
    path = locate(entry, folders)
    if path is None:
        searched = " nor in ".join(str(folder) for folder in folders)
        raise StartupError(
            f"Model '{name}': file {entry.file} is not in {searched}. {_how_to_get(entry)}, or name its folder with "
            "CLEARCUT_MODEL_DIR"
        )
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise StartupError(f"Model '{name}': {path} cannot be read: {exc.strerror}") from exc
    return ModelFile(verify_model(entry, path, data), path, data)


def locate(entry: ModelEntry, folders: list[Path]) -> Path | None:
    """Return the entry's file in the first folder that has it, or None."""
    return next((path for path in (folder / entry.file for folder in folders) if path.is_file()), None)


def verify_model(entry: ModelEntry, path: Path, data: bytes) -> ModelEntry:
    """Return the entry with the SHA-256 of ``data``, and with the pin's golden output if it has none of its own.

    Args:
        entry: of the manifest.
        path: of the file; its pin is beside it.
        data: content of the file.

    Raises:
        StartupError: ``data`` matches neither hash of the entry, or not the pin.
    """
    pin, digest = read_pin(path), hashlib.sha256(data).hexdigest()
    if mismatch := hash_mismatch(data, entry.sha256, entry.md5):
        raise StartupError(
            f"Model '{entry.name}': {path} has {mismatch}. The file is damaged or another version: replace it with the "
            f"right one ({entry.source})"
        )
    if pin is None and entry.recipe and entry.sha256 is None:
        raise StartupError(f"Model '{entry.name}': {path} has no pin beside it. {_how_to_get(entry)}")
    if entry.sha256 != digest and pin is not None and pin.sha256 != digest:
        raise StartupError(
            f"Model '{entry.name}': {path} has sha256 {digest}, but {pin.sha256} was pinned earlier. If you replaced "
            f"the file on purpose, run `clearcut models pin {entry.name}`"
        )
    if entry.golden is None and pin is not None:
        return replace(entry, sha256=digest, golden=pin.golden)
    return replace(entry, sha256=digest)


def pin_path(path: Path) -> Path:
    """Return the path of the pin of a model file."""
    return path.with_name(f"{path.name}.pin.toml")


def read_pin(path: Path) -> Pin | None:
    """Return the pin of a model file, or None if it has none.

    Raises:
        StartupError: the pin is invalid.
    """
    pin = pin_path(path)
    return read_toml(pin, "Pin", Pin) if pin.is_file() else None


def write_pin(path: Path, pin: Pin) -> None:
    """Write the pin of a model file. An earlier pin is replaced."""
    golden = f"\n{golden_toml('golden', pin.golden)}" if pin.golden else ""
    pin_path(path).write_text(f'sha256 = "{pin.sha256}"\n{golden}')


def golden_toml(name: str, golden: Golden) -> str:
    """Return a golden output as the TOML table ``name``."""
    rows = "\n".join("    [" + ", ".join(f"{value:.3f}" for value in row) + "]," for row in golden.grid)
    return f"[{name}]\ntolerance = {golden.tolerance:g}\ngrid = [\n{rows}\n]\n"


def _how_to_get(entry: ModelEntry) -> str:
    if entry.recipe:
        return f"Make it: {entry.recipe}"
    if entry.urls or entry.package:
        return f"Download it: clearcut models pull {entry.name}"
    return f"Download it from {entry.source} (see docs/models.md)"
