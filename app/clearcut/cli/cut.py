"""``clearcut cut``: remove the background of files, in this process or on a running service."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clearcut.api import FILE_OPTIONS, Remover
from clearcut.errors import ClearcutError, InvalidField, StartupError
from clearcut.system import cpu_quota
from clearcut.web.apis.poof_options import FIELDS, add_background_type, parse_options, require_background

from .cut_backends import Backend, LocalBackend, ServerBackend
from .cut_files import (
    OUTPUT_EXTENSIONS,
    STANDARD_STREAM,
    CutFile,
    UsageError,
    check_collisions,
    format_for_output,
    plan_files,
)
from .cut_run import FileReport, Review, Run, summary, write_report

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells report it."""
MIN_CONFIDENCE = 0.8
TUNE_FILES = 200
"""Number of files from which the start-up measurement of the model, which takes about two seconds, pays off."""
_PREFIX = "option_"
"""Of the attributes of the option flags."""
_FLAGS = {
    "--" + name.replace("_", "-"): name
    for name, field in FIELDS.items()
    if "true" in (*field.schema.get("enum", ()), *field.schema.get("examples", ()))
}
"""Flags that mean ``true`` without a value, with their option."""
OPTION_FIELDS = {name: field for name, field in FIELDS.items() if name != "model"}
"""Options with a flag of the same name. ``--model`` selects the model that is loaded."""
_EXTENSIONS = ", ".join(f".{extension}" for extension in OUTPUT_EXTENSIONS)
_SWITCHES = ("-h", "--help", "--overwrite")
"""Flags without a value."""
DESCRIPTION = """\
Remove the background of files.

  clearcut cut photo.jpg cutout.png          one file; the extension selects the format
  clearcut cut photos/ cutouts/ --crop       a folder with its subfolders
  clearcut cut a.jpg b.jpg cutouts/          several files
  clearcut cut - - < photo.jpg > cutout.png  standard input and output

Outputs that exist are skipped. Exit code 0: all files are done; 1: some failed; 2: wrong usage."""


def add_commands(commands: Commands) -> None:
    """Add ``cut`` to the command line."""
    cut = commands.add_parser(
        "cut",
        help="remove the background of files and folders",
        usage="clearcut cut [options] IN... OUT",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    cut.add_argument("inputs", nargs="+", metavar="IN", help="a file, a folder, or - for standard input")
    cut.add_argument("out", metavar="OUT", help=f"a file ({_EXTENSIONS}), a folder, or - for standard output")
    files = cut.add_argument_group("files")
    files.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    files.add_argument("--suffix", default="", metavar="TEXT", help="add this text to the names of outputs in a folder")
    files.add_argument("--report", type=Path, metavar="FILE", help="write a CSV: file, status, confidence, box, ms")
    files.add_argument("--review", type=Path, metavar="DIR", help="copy doubtful outputs to this folder")
    files.add_argument(
        "--min-confidence", type=_share, metavar="X", help=f"for --review: 0 to 1 (default: {MIN_CONFIDENCE})"
    )
    work = cut.add_argument_group("where the work runs")
    work.add_argument(
        "--workers", type=_count, default=0, metavar="N", help="threads, or concurrent requests to --server"
    )
    work.add_argument(
        "--model", metavar="NAME", help="model to run (default: CLEARCUT_MODEL, or the default of --server)"
    )
    work.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or tensorrt (default: CLEARCUT_DEVICE)")
    work.add_argument("--server", metavar="URL", help="use a running service, such as http://127.0.0.1:8080")
    work.add_argument("--key", metavar="KEY", help="API key for --server")
    options = cut.add_argument_group("options of the output, as in POST /v1/remove")
    for name, field in OPTION_FIELDS.items():
        flag = "--" + name.replace("_", "-")
        values = field.schema.get("enum")
        metavar = "{" + ",".join(values) + "}" if values else "VALUE"
        metavar = f"[{metavar}]" if flag in _FLAGS else metavar
        text = f"{field.description} (default: {field.schema['default']})" if "default" in field.schema else (
            field.description
        )  # fmt: skip
        options.add_argument(flag, dest=_PREFIX + name, metavar=metavar, help=text.replace("%", "%%"))
    options.add_argument("--crop-ratio", metavar="W:H", help="the same as --crop W:H")
    options.add_argument("--bg-image", type=Path, metavar="FILE", help="background image")
    options.add_argument("--mask", type=Path, metavar="FILE", help="use this matte instead of the model's")


def normalize_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments after ``cut`` in a form that argparse reads in any order: options first, each with ``=``.

    A flag that may stand alone gets its value: ``--crop in.jpg`` becomes ``--crop=true in.jpg``. The argument after it
    is its value if it is valid for the option: ``--crop 1:1``.
    """
    options: list[str] = []
    positionals: list[str] = []
    incomplete: list[str] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument == "--":
            return [*options, "--", *positionals, *remaining]
        if not argument.startswith("-") or argument == STANDARD_STREAM:
            positionals.append(argument)
        elif argument in _FLAGS:
            has_value = bool(remaining) and _is_value(_FLAGS[argument], remaining[0])
            options.append(f"{argument}={remaining.pop(0) if has_value else 'true'}")
        elif argument in _SWITCHES or "=" in argument:
            options.append(argument)
        elif not remaining or remaining[0].startswith("--"):
            incomplete.append(argument)  # last, so that no positional argument becomes its value
        else:
            options.append(f"{argument}={remaining.pop(0)}")
    return [*options, *positionals, *incomplete]


def _is_value(name: str, text: str) -> bool:
    try:
        FIELDS[name].parse(name, text)
    except InvalidField:
        return False
    return True


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("expected a number from 0 to 1")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 256):
        raise argparse.ArgumentTypeError("expected a whole number from 1 to 256")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit code: 0, 1 if a file failed, 2 for wrong usage, 130 after Ctrl-C.

    Raises:
        StartupError: the model or the service cannot be used, or the report cannot be written.
    """
    begun = time.monotonic()
    try:
        fields, extension = _fields(arguments)
        excluded = [] if arguments.review is None else [arguments.review]
        files = plan_files(arguments.inputs, arguments.out, extension, arguments.suffix, excluded)
        _check_usage(arguments, files)
        reports = [FileReport(each, "skipped") for each in files if _finished(each, overwrite=arguments.overwrite)]
    except UsageError as exc:
        _print(f"clearcut cut: error: {exc}")
        return 2
    skipped = {report.file for report in reports}
    pending = [each for each in files if each not in skipped]
    stopped: BaseException | None = None
    if pending:
        try:
            reports += _process(arguments, fields, pending, begun)
        except _Stopped as exc:
            stopped = exc.__cause__
            reports += exc.reports
    if arguments.report is not None:
        try:
            write_report(arguments.report, reports)
        except OSError as exc:
            raise StartupError(f"--report {arguments.report}: {exc.strerror}") from None
    failed = any(report.status == "error" for report in reports)
    if stopped is not None:
        text = "interrupted" if isinstance(stopped, KeyboardInterrupt) else f"clearcut: {stopped}\nstopped"
        _print(f"{text}: {summary(reports, 0)}, {len(files) - len(reports)} not processed")
        return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else 1
    if arguments.out != STANDARD_STREAM:
        _print(summary(reports, time.monotonic() - begun))
    return 1 if failed else 0


class _Stopped(Exception):
    """The run ended early; ``__cause__`` is the reason."""

    def __init__(self, reports: list[FileReport]) -> None:
        super().__init__()
        self.reports = reports


def _process(
    arguments: argparse.Namespace, fields: Mapping[str, str], files: Sequence[CutFile], begun: float
) -> list[FileReport]:
    """Process the files that are not finished."""
    review = None
    if arguments.review is not None:
        minimum = MIN_CONFIDENCE if arguments.min_confidence is None else arguments.min_confidence
        review = Review(arguments.review, minimum)
    reports: list[FileReport] = []
    try:
        backend = _backend(arguments, fields, tune=len(files) >= TUNE_FILES)
        run = Run(backend, review, progress=sys.stderr.isatty() and len(files) > 1)
        reports = run.reports
        run.process(files)
    except (KeyboardInterrupt, StartupError) as exc:
        if isinstance(exc, StartupError) and not reports:
            raise
        raise _Stopped(reports) from exc
    return reports


def _backend(arguments: argparse.Namespace, fields: Mapping[str, str], *, tune: bool) -> Backend:
    files = {}
    for name in FILE_OPTIONS:
        path = getattr(arguments, name)
        if path is not None:
            try:
                files[name] = path.read_bytes()
            except OSError as exc:
                raise StartupError(f"{path}: {exc.strerror}") from None
    if arguments.server is not None:
        model = {"model": arguments.model} if arguments.model else {}
        return ServerBackend(arguments.server, arguments.key, {**fields, **model}, files, arguments.workers)
    workers = arguments.workers or None
    remover = Remover(arguments.model, arguments.device, workers=workers, tune=tune)
    return LocalBackend(remover, {**fields, **files}, workers or cpu_quota())


def _fields(arguments: argparse.Namespace) -> tuple[dict[str, str], str]:
    """Return (option fields, extension of the outputs).

    Raises:
        UsageError: an option is invalid.
    """
    values = vars(arguments)
    fields = {name: values[_PREFIX + name] for name in OPTION_FIELDS if values[_PREFIX + name] is not None}
    if arguments.crop_ratio is not None:
        if fields.get("crop", "true") != "true":
            raise UsageError("--crop-ratio: not together with a value of --crop")
        if ":" not in arguments.crop_ratio:
            raise UsageError("--crop-ratio: expected a ratio such as 1:1, 4:3, 16:9")
        fields["crop"] = arguments.crop_ratio
    requested = format_for_output(arguments.out, fields.get("format"))
    if requested is not None:
        fields["format"] = requested
    has_background = arguments.bg_image is not None
    try:
        options, _ = parse_options(add_background_type(fields, has_background=has_background))
        require_background([options], has_background=has_background)
    except InvalidField as exc:
        name = "crop-ratio" if exc.field == "crop" and arguments.crop_ratio else exc.field.replace("_", "-")
        raise UsageError(f"--{name}: expected {exc.expected}") from None
    except ClearcutError as exc:
        raise UsageError(str(exc)) from None
    return fields, options.format


def _check_usage(arguments: argparse.Namespace, files: Sequence[CutFile]) -> None:
    """Raise UsageError if flags exclude each other."""
    if arguments.min_confidence is not None and arguments.review is None:
        raise UsageError("--min-confidence needs --review")
    if arguments.key is not None and arguments.server is None:
        raise UsageError("--key needs --server")
    if arguments.server is not None and arguments.device:
        raise UsageError("--device does not work with --server, which has its own device")
    if files[0].target is None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; redirect it to a file")
    read = [path for path in (arguments.mask, arguments.bg_image) if path is not None]
    check_collisions(files, read, arguments.review, arguments.report)


def _finished(file: CutFile, *, overwrite: bool) -> bool:
    try:
        return not overwrite and file.target is not None and file.target.exists()
    except OSError as exc:
        raise UsageError(f"{file.target}: {exc.strerror}") from None


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - command line output
