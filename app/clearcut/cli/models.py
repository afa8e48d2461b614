"""``python -m clearcut models …``: which models there are, fetch them, check their files, pin what a file answers."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clearcut.errors import StartupError
from clearcut.inference.edge_model import find_edge_model
from clearcut.inference.manifest import MANIFEST, ModelEntry, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import (
    ModelFile,
    Pin,
    hash_mismatch,
    locate,
    pin_path,
    read_pin,
    verify_model,
    write_pin,
)
from clearcut.inference.startup.self_test import golden_of_model
from clearcut.inference.toml_table import read_document
from clearcut.model_store.download import DownloadError, fetch
from clearcut.model_store.progress import ProgressBar
from clearcut.settings import Settings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: Commands) -> None:
    """Add ``models`` and what comes after it to the command line."""
    models = commands.add_parser("models", help="the models of the manifest: list, fetch, check")
    actions = models.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="every model: its file, whether it is here, its licence")
    pull = actions.add_parser("pull", help="fetch models' files into CLEARCUT_MODEL_DIR, or models/")
    pull.add_argument("names", nargs="+", metavar="NAME")
    verify = actions.add_parser("verify", help="compare the hashes of the files that are here; all, or those named")
    verify.add_argument("names", nargs="*", metavar="NAME")
    pin = actions.add_parser("pin", help="keep the hash of a file that is here, and what it answers")
    pin.add_argument("name", metavar="NAME")
    pin.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32")


def run(arguments: argparse.Namespace, settings: Settings, folder: Path | None = None) -> int:
    """Do what the command line says; the exit code.

    Args:
        folder: with the manifest; the repository's by default.

    Raises:
        StartupError: the manifest or a file is not as it must be, or cannot be had, read or written.
    """
    try:
        return _run(arguments, settings, folder or models_folder())
    except BrokenPipeError:
        raise
    except OSError as exc:
        named = f"{exc.filename}: " if exc.filename else ""
        raise StartupError(f"models {arguments.action}: {named}{exc.strerror or exc}") from exc


def _run(arguments: argparse.Namespace, settings: Settings, home: Path) -> int:
    entries = read_manifest(home / MANIFEST)
    folders = [home] if settings.model_dir is None else [home, settings.model_dir]
    match arguments.action:
        case "list":
            for entry in entries.values():
                for each in _with_variants(entry):
                    _say(_line(each, folders))
            return 0
        case "pull":
            for name in arguments.names:
                _pull(find_entry(entries, name), folders, settings)
            return 0
        case "verify":
            code = _verify([find_entry(entries, name) for name in arguments.names or entries], folders)
            return code if arguments.names else max(code, _verify_edges(home))
        case _:
            entry = find_entry(entries, arguments.name, arguments.precision)
            path = locate(entry, folders)
            if path is None:
                raise StartupError(f"model '{entry.name}': {entry.file} is not in {_listed(folders)}")
            _pin(entry, path)
            return 0


def _with_variants(entry: ModelEntry) -> Iterator[ModelEntry]:
    yield entry
    yield from entry.variants.values()


def _line(entry: ModelEntry, folders: list[Path]) -> str:
    path = locate(entry, folders)
    if path is not None:
        state = f"{path.stat().st_size / 1e6:.1f} MB"
    else:
        state = "to be made" if entry.recipe else "to be pulled" if entry.addresses else "not here"
    licence = entry.licence + (f"; {entry.terms}" if entry.terms else "")
    near = f"\tIoU {entry.parity.iou:g} with fp32" if entry.parity else ""
    return f"{entry.name}\t{entry.precision}\t{entry.file}\t{state}\t{licence}{near}"


def _verify(entries: list[ModelEntry], folders: list[Path]) -> int:
    """Say of every file whether it is the one meant; 1 if one is not."""
    code = 0
    for entry in (each for model in entries for each in _with_variants(model)):
        path = locate(entry, folders)
        if path is None:
            _say(f"{entry.name}\t{entry.precision}\tabsent")
            continue
        try:
            verify_model(entry, path, path.read_bytes())
        except StartupError as exc:
            _say(f"{entry.name}\t{entry.precision}\tWRONG\t{exc}")
            code = 1
        else:
            _say(f"{entry.name}\t{entry.precision}\tgood\t{path}")
    return code


def _verify_edges(home: Path) -> int:
    """The same of the edge model, if the manifest has one."""
    if "edges" not in read_document(home / MANIFEST, "Model manifest").content:
        return 0
    try:
        _say(f"edges\tfp32\tgood\t{find_edge_model(home)[0]}")
    except StartupError as exc:
        _say(f"edges\tfp32\tWRONG\t{exc}")
        return 1
    return 0


def _pull(entry: ModelEntry, folders: list[Path], settings: Settings) -> None:
    """Fetch a model's file, unless it is here.

    Raises:
        StartupError: it cannot be had, or what came is not the file meant.
    """
    path = locate(entry, folders)
    if path is None:
        path = folders[-1] / entry.file
        _fetch(entry, path, settings.model_mirror)
    verify_model(entry, path, data := path.read_bytes())
    _say(f"{entry.name}: {path}\nsha256 {hashlib.sha256(data).hexdigest()}\nlicence: {entry.licence}")
    if entry.terms:
        _say(f"terms: {entry.terms}")
    pin = read_pin(path)
    if entry.golden is None and (pin is None or pin.golden is None):
        _pin(entry, path)


def _fetch(entry: ModelEntry, path: Path, mirror: str) -> None:
    addresses = [f"{mirror.rstrip('/')}/{entry.file}"] if mirror else list(entry.addresses)
    if not addresses:
        raise StartupError(f"model '{entry.name}' has no address in the manifest: fetch it from {entry.source}")
    path.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    for address in addresses:
        bar = ProgressBar(entry.file)
        try:
            fetch(address, path, lambda part: _fault(entry, part), bar)
        except DownloadError as exc:
            said.append(str(exc))
        else:
            return
        finally:
            bar.end()
    raise StartupError(f"model '{entry.name}' cannot be fetched: {'; '.join(said)}")


def _fault(entry: ModelEntry, path: Path) -> str | None:
    data = path.read_bytes()
    return hash_mismatch(entry, data, hashlib.sha256(data).hexdigest())


def _pin(entry: ModelEntry, path: Path) -> None:
    """Keep the file's sha256 and its golden answer beside it.

    Raises:
        StartupError: the file is not the manifest's, or does not see the golden picture's figure.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if fault := hash_mismatch(entry, data, digest):
        raise StartupError(f"model '{entry.name}': {path} has {fault}")
    golden = golden_of_model(ModelFile(entry, path, data))
    write_pin(path, Pin(digest, golden))
    _say(f"pinned in {pin_path(path)}: look at its mattes of real photos before it serves")


def _listed(folders: list[Path]) -> str:
    return " nor in ".join(str(each) for each in folders)


def _say(text: str) -> None:
    print(text)  # noqa: T201 - for the person at the console
