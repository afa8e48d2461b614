"""``clearcut cut``: remove the background of files, in this process or on a running service."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clearcut.errors import StartupError
from clearcut.system import cpu_quota

from . import cut_ray
from .cut_arguments import add_file_command, add_options, check_file_arguments, create_run, output_folders, save_report
from .cut_files import (
    OUTPUT_EXTENSIONS,
    STANDARD_STREAM,
    CutFile,
    UsageError,
    plan_files,
)
from .cut_options import option_fields
from .cut_outputs import is_finished, split_duplicates
from .cut_run import FileReport, summary
from .interrupts import INTERRUPTED, InterruptHandler
from .terminal import print_message

if TYPE_CHECKING:
    from .parser import Commands

TUNE_FILES_PER_CPU = 400
"""Files per CPU from which the start-up measurement of the model pays off: it takes a second, and such a run 20."""
MAX_LISTED = 10
"""Number of inputs with the same output that the error lists."""
_EXTENSIONS = ", ".join(f".{extension}" for extension in OUTPUT_EXTENSIONS)
DESCRIPTION = """\
Remove the background of files.

  clearcut cut photo.jpg cutout.png          one file; the extension selects the format
  clearcut cut photos/ cutouts/ --crop       a folder with its subfolders
  clearcut cut a.jpg b.jpg cutouts/          several files
  clearcut cut - - < photo.jpg > cutout.png  standard input and output

Outputs that exist are skipped. Exit code 0: all files are done; 1: some failed; 2: wrong usage."""


def add_commands(commands: Commands) -> None:
    """Add ``cut`` to the command line."""
    cut = add_file_command(commands, "cut", "remove the background of files and folders", "IN... OUT", DESCRIPTION)
    cut.add_argument("inputs", nargs="+", metavar="IN", help="a file, a folder, or - for standard input")
    cut.add_argument("out", metavar="OUT", help=f"a file ({_EXTENSIONS}), a folder, or - for standard output")
    add_options(cut)
    cut_ray.add_options(cut)


def run(arguments: argparse.Namespace, interrupts: InterruptHandler) -> int:
    """Run the command.

    Returns:
        The exit code: 0, 1 if a file failed, 2 for wrong usage, 130 after Ctrl-C.

    Raises:
        StartupError: the model or the service cannot be used, or the report cannot be written.
    """
    begun = time.monotonic()
    try:
        if arguments.ray is not None:
            cut_ray.check_ray_arguments(arguments)
        fields, names = option_fields(arguments)
        if arguments.ray is not None:
            return cut_ray.run(arguments, fields, names.extension, interrupts)
        files = plan_files(arguments.inputs, arguments.out, names, output_folders(arguments))
        if files[0].target is None and sys.stdout.isatty():
            raise UsageError("standard output is a terminal; redirect it to a file")
        check_file_arguments(arguments, files)
        unique, duplicates = split_duplicates(files)
        if duplicates:
            raise UsageError(_same_outputs(duplicates))
        reports = [FileReport(each, "skipped") for each in unique if is_finished(each, overwrite=arguments.overwrite)]
    except UsageError as exc:
        print_message(f"clearcut cut: error: {exc}")
        return 2
    skipped = {report.file for report in reports}
    pending = [each for each in unique if each not in skipped]
    stopped: BaseException | None = None
    if pending:
        try:
            reports += _process(arguments, fields, pending, interrupts)
        except _Stopped as exc:
            stopped = exc.__cause__
            reports += exc.reports
    save_report(arguments.report, reports)
    failed = any(report.status == "error" for report in reports)
    if stopped is not None:
        text = "interrupted" if isinstance(stopped, KeyboardInterrupt) else f"clearcut: {stopped}\nstopped"
        print_message(f"{text}: {summary(reports, 0)}, {len(unique) - len(reports)} not processed")
        return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else 1
    if arguments.out != STANDARD_STREAM:
        if len(reports) == 1 and reports[0].status == "ok":
            print_message(f"output: {', '.join(map(str, reports[0].file.targets))}")
        print_message(summary(reports, time.monotonic() - begun))
    return 1 if failed else 0


class _Stopped(Exception):
    """The run ended early; ``__cause__`` is the reason."""

    def __init__(self, reports: list[FileReport]) -> None:
        super().__init__()
        self.reports = reports


def _process(
    arguments: argparse.Namespace, fields: Mapping[str, str], files: Sequence[CutFile], interrupts: InterruptHandler
) -> list[FileReport]:
    """Process the files that are not finished."""
    reports: list[FileReport] = []
    try:
        run = create_run(
            arguments,
            fields,
            tune=len(files) >= TUNE_FILES_PER_CPU * cpu_quota(),
            progress=sys.stderr.isatty() and len(files) > 1,
            keep_existing=not arguments.overwrite,
        )
        reports = run.reports
        with interrupts.processing(run.partial_files):
            try:
                run.process(files)
            finally:
                run.close()
    except (KeyboardInterrupt, StartupError) as exc:
        if isinstance(exc, StartupError) and not reports:
            raise
        raise _Stopped(reports) from exc
    return reports


def _same_outputs(duplicates: Sequence[tuple[CutFile, CutFile]]) -> str:
    """Return the error for inputs with the output of an earlier input."""
    texts = [
        f"{each.name} and {owner.name} have the same output {each.target}" for each, owner in duplicates[:MAX_LISTED]
    ]
    if len(duplicates) > MAX_LISTED:
        texts.append(f"and {len(duplicates) - MAX_LISTED} more")
    return "; ".join([*texts, "rename a file, or use another OUT. No file was processed"])
