"""The arguments that ``clearcut cut`` and ``clearcut watch`` share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clearcut.api import Remover
from clearcut.api_inputs import FILE_OPTIONS
from clearcut.batch.process import Backend, LocalBackend
from clearcut.errors import StartupError
from clearcut.system import cpu_quota

from .argument_types import file_path, number, one_of, whole_number
from .cut_backends import ServerBackend, find_key
from .cut_files import CutFile, UsageError
from .cut_options import add_option_flags
from .cut_outputs import check_collisions
from .cut_run import CutRun, FileReport, Review, write_report

if TYPE_CHECKING:
    from .parser import Commands

MIN_CONFIDENCE = 0.9
"""A person should inspect outputs with a lower confidence (docs/quality.md)."""


def add_file_command(
    commands: Commands, name: str, summary: str, arguments: str, description: str
) -> argparse.ArgumentParser:
    """Add a command that processes files and return its parser; ``add_options`` adds the flags."""
    return commands.add_parser(
        name,
        help=summary,
        usage=f"clearcut {name} [options] {arguments}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for files, for the place where the work runs, and for the outputs."""
    files = parser.add_argument_group("files")
    files.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    files.add_argument("--suffix", default="", metavar="TEXT", help="add this text to the names of outputs in a folder")
    files.add_argument(
        "--report", type=file_path, metavar="FILE", help="write a CSV: file, status, confidence, box, ms"
    )
    files.add_argument("--review", type=file_path, metavar="DIR", help="copy doubtful outputs to this folder")
    files.add_argument(
        "--min-confidence", type=number(0, 1), metavar="X", help=f"for --review: 0 to 1 (default: {MIN_CONFIDENCE})"
    )
    work = parser.add_argument_group("where the work runs")
    work.add_argument(
        "--workers",
        type=whole_number(1, 256),
        default=0,
        metavar="N",
        help="threads, or concurrent requests to --server",
    )
    work.add_argument(
        "--model", metavar="NAME", help="model to run (default: CLEARCUT_MODEL, or the default of --server)"
    )
    work.add_argument(
        "--device",
        type=one_of("auto", "cpu", "cuda", "tensorrt"),
        metavar="NAME",
        help="auto, cpu, cuda or tensorrt (default: CLEARCUT_DEVICE)",
    )
    work.add_argument("--server", metavar="URL", help="use a running service, such as http://127.0.0.1:8080")
    work.add_argument("--key", metavar="KEY", help="API key for --server (default: CLEARCUT_API_KEY)")
    options = parser.add_argument_group("options of the output, as in POST /v1/remove")
    add_option_flags(options)
    options.add_argument("--bg-image", type=file_path, metavar="FILE", help="background image")
    options.add_argument("--mask", type=file_path, metavar="FILE", help="use this matte instead of the model's")


def output_folders(arguments: argparse.Namespace) -> list[Path]:
    """Return the folders of outputs that a folder of inputs may contain and that hold no inputs."""
    return [] if arguments.review is None else [arguments.review]


def check_file_arguments(arguments: argparse.Namespace, files: Sequence[CutFile]) -> None:
    """Raise UsageError if flags exclude each other, or if an output would replace an input or another output."""
    _check_flags(arguments)
    read = [path for path in (arguments.mask, arguments.bg_image) if path is not None]
    check_collisions(files, read, arguments.review, arguments.report)


def _check_flags(arguments: argparse.Namespace) -> None:
    """Raise UsageError if flags exclude each other."""
    if arguments.min_confidence is not None and arguments.review is None:
        raise UsageError("--min-confidence needs --review")
    if arguments.key is not None and arguments.server is None:
        raise UsageError("--key needs --server")
    if arguments.server is not None and arguments.device:
        raise UsageError("--device does not work with --server, which has its own device")
    if arguments.server is not None:
        find_key(arguments.key)


def save_report(path: Path | None, reports: Sequence[FileReport]) -> None:
    """Write the report if the command has one. Raises StartupError."""
    if path is None:
        return
    try:
        write_report(path, reports)
    except OSError as exc:
        raise StartupError(f"--report {path}: {exc.strerror}") from None


def create_run(
    arguments: argparse.Namespace, fields: Mapping[str, str], *, tune: bool, progress: bool, keep_existing: bool
) -> CutRun:
    """Create the run of a command, with its backend. Raises as ``create_backend``."""
    backend = create_backend(arguments, fields, tune=tune)
    return CutRun(backend, _review(arguments), progress=progress, keep_existing=keep_existing)


def read_file_options(arguments: argparse.Namespace) -> dict[str, bytes]:
    """Return the content of the files that are options, by option.

    Raises:
        StartupError: a file cannot be read.
    """
    files = {}
    for name in FILE_OPTIONS:
        path: Path | None = getattr(arguments, name)
        if path is not None:
            try:
                files[name] = path.read_bytes()
            except OSError as exc:
                raise StartupError(f"--{name.replace('_', '-')} {path}: {exc.strerror}") from None
    return files


def create_backend(arguments: argparse.Namespace, fields: Mapping[str, str], *, tune: bool) -> Backend:
    """Load the model, or connect to the service.

    Args:
        tune: measure the fastest sessions and batch sizes of a local model.

    Raises:
        StartupError: the model, the service or a file cannot be used.
    """
    files = read_file_options(arguments)
    if arguments.server is not None:
        model = {"model": arguments.model} if arguments.model else {}
        return ServerBackend(arguments.server, find_key(arguments.key), {**fields, **model}, files, arguments.workers)
    workers = arguments.workers or None
    remover = Remover(arguments.model, arguments.device, workers=workers, tune=tune)
    return LocalBackend(remover, {**fields, **files}, workers or cpu_quota())


def _review(arguments: argparse.Namespace) -> Review | None:
    if arguments.review is None:
        return None
    return Review(arguments.review, MIN_CONFIDENCE if arguments.min_confidence is None else arguments.min_confidence)
