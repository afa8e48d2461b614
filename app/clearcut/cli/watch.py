"""``clearcut watch``: remove the background of each image that appears in a folder, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import watchfiles

from clearcut.errors import StartupError

from .cut_arguments import add_file_command, add_options, check_file_arguments, create_run, output_folders, save_report
from .cut_files import (
    OUTPUT_EXTENSIONS,
    STANDARD_STREAM,
    CutFile,
    UsageError,
    images_of_folder,
)
from .cut_options import option_fields
from .cut_outputs import is_finished
from .cut_run import CutRun, FileReport, summary
from .interrupts import InterruptHandler
from .terminal import print_message

if TYPE_CHECKING:
    from .parser import Commands

SETTLE_S = 1.0
"""Time without a change after which a file counts as complete, seconds."""
RETRY_S = 10.0
"""Time without a change after which a file that cannot be read counts as broken, seconds."""
SCAN_S = 10.0
"""Interval of scans without an event, seconds. Network file systems send no events."""
_STEP_MS = 200
DESCRIPTION = """\
Remove the background of each image in a folder and its subfolders, now and when one is added or changed.

  clearcut watch photos/ cutouts/ --format jpg --bg-color white

A file is processed when it has not changed for a second. Outputs that exist at the start are skipped. Ctrl-C ends the
command with exit code 0; 1: the model or the service cannot be used; 2: wrong usage."""

Signature = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""


def add_commands(commands: Commands) -> None:
    """Add ``watch`` to the command line."""
    summary_text = "remove the background of images as they appear in a folder"
    watch = add_file_command(commands, "watch", summary_text, "IN OUT", DESCRIPTION)
    watch.add_argument("source", metavar="IN", help="a folder")
    watch.add_argument("out", metavar="OUT", help="a folder")
    add_options(watch)


def run(arguments: argparse.Namespace, interrupts: InterruptHandler) -> int:
    """Run the command until Ctrl-C or SIGTERM and return the exit code: 0, or 2 for wrong usage.

    Raises:
        StartupError: the model, the service or the folder cannot be used.
    """
    try:
        fields, names = option_fields(arguments)
        source, out = _folders(arguments)

        def scan() -> list[CutFile]:
            return images_of_folder(source, out, names, output_folders(arguments))

        files = scan()
        check_file_arguments(arguments, files)
        finished = [each for each in files if is_finished(each, overwrite=arguments.overwrite)]
    except (UsageError, OSError) as exc:
        print_message(f"clearcut watch: error: {exc}")
        return 2
    processing = create_run(arguments, fields, tune=False, progress=False, keep_existing=False)
    folder = FolderState(finished)
    try:
        with interrupts.processing(processing.partial_files):
            print_message(f"Watching {source}. Cut-outs go to {out}. Press Ctrl-C to stop.")
            _watch(source, scan, folder, processing, arguments.report)
    except KeyboardInterrupt:
        print_message(f"stopped: {summary(processing.reports, 0)}")
    finally:
        processing.close()
        _write_report(arguments.report, processing.reports)
    return 0


def _folders(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return (input folder, output folder).

    Raises:
        UsageError: they cannot be watched.
    """
    source, out = Path(arguments.source), Path(arguments.out)
    if not arguments.source or not source.is_dir():
        raise UsageError(f"IN is {arguments.source or 'empty'}, but watch needs a folder")
    is_file = out.suffix.lower().lstrip(".") in OUTPUT_EXTENSIONS and not out.is_dir()
    if arguments.out in ("", STANDARD_STREAM) or is_file or any(each.is_file() for each in (out, *out.parents)):
        raise UsageError(f"OUT is {arguments.out or 'empty'}, but watch needs a folder")
    if Path(arguments.suffix).name != arguments.suffix:
        raise UsageError(f"--suffix: expected a part of a file name, got {arguments.suffix}")
    if source.resolve() == out.resolve() and not arguments.suffix:
        raise UsageError("IN and OUT are the same folder; use --suffix")
    return source, out


def _watch(
    source: Path, scan: Callable[[], list[CutFile]], folder: FolderState, processing: CutRun, report: Path | None
) -> None:
    """Process complete files until KeyboardInterrupt."""
    events = watchfiles.watch(
        source, debounce=_STEP_MS, step=_STEP_MS, rust_timeout=_STEP_MS, yield_on_timeout=True, watch_filter=None,
        raise_interrupt=True,
    )  # fmt: skip
    scanned_at = -SCAN_S
    for changes in events:
        now = time.monotonic()
        if not changes and not folder.waiting and now - scanned_at < SCAN_S:
            continue
        scanned_at = now
        ready = folder.update(_scan_with_signatures(scan), now)
        if not ready:
            continue
        done = len(processing.reports)
        processing.process(ready, quiet=True)
        for each in processing.reports[done:]:
            if folder.settle(each, time.monotonic()):
                print_message(_line(each))
            else:
                processing.reports.remove(each)
        _write_report(report, processing.reports)


def _scan_with_signatures(scan: Callable[[], list[CutFile]]) -> list[tuple[CutFile, Signature]]:
    """Return the images with their signatures.

    Raises:
        StartupError: the folder cannot be read, because it was deleted for example.
    """
    try:
        files = scan()
    except OSError as exc:
        raise StartupError(f"{exc.filename}: {exc.strerror}") from None
    found = []
    for each in files:
        try:
            status = os.stat(each.name)
        except OSError:  # deleted since the scan
            continue
        found.append((each, (status.st_size, status.st_mtime_ns)))
    return found


def _line(report: FileReport) -> str:
    if report.status == "ok":
        targets = " ".join(map(str, report.file.targets))
        return f"{report.file.name} -> {targets}  confidence {report.confidence:.2f}, {report.ms:.0f} ms"
    return f"clearcut: {report.file.name}: {report.error}"


def _write_report(path: Path | None, reports: Sequence[FileReport]) -> None:
    """Write the last report of each file."""
    save_report(path, list({report.file: report for report in reports}.values()))


@dataclass(slots=True)
class _FileState:
    signature: Signature
    since: float
    """Time at which the signature was seen first, seconds."""
    handled: bool = False
    """Whether this version of the file has an output or a reported error."""
    next_at: float = 0.0
    """Earliest time of the next attempt, seconds."""


@dataclass(slots=True)
class FolderState:
    """Which versions of the files of a folder are processed. Times are in seconds of one clock."""

    finished: Sequence[CutFile] = ()
    """Files that need no processing unless they change."""
    _seen: dict[CutFile, _FileState] = field(default_factory=dict)
    _sources: dict[Path, CutFile] = field(default_factory=dict)
    """The file of each output."""

    @property
    def waiting(self) -> bool:
        """Whether a file is incomplete or will be tried again."""
        return any(not each.handled for each in self._seen.values())

    def update(self, found: Sequence[tuple[CutFile, Signature]], now: float) -> list[CutFile]:
        """Store the current files, and return the complete ones that are not processed."""
        self._seen = {file: self._seen[file] for file, _ in found if file in self._seen}
        self._sources = {path: file for path, file in self._sources.items() if file in self._seen}
        ready = []
        for file, signature in found:
            seen = self._seen.get(file)
            if seen is None or seen.signature != signature:
                handled = seen is None and file in self.finished
                seen = self._seen[file] = _FileState(signature, now, handled, now + SETTLE_S)
            if self._is_duplicate(file, seen) or seen.handled or now < seen.next_at:
                continue
            ready.append(file)
        self.finished = ()
        return ready

    def settle(self, report: FileReport, now: float) -> bool:
        """Return whether a report is final. A file that cannot be read and is new may be incomplete; it is retried."""
        seen = self._seen[report.file]
        if report.status == "error" and now - seen.since < RETRY_S:
            seen.next_at = seen.since + RETRY_S
            return False
        seen.handled = True
        return True

    def _is_duplicate(self, file: CutFile, seen: _FileState) -> bool:
        """Report a file with the same output as another file."""
        if file.target is None:
            return False
        owner = self._sources.setdefault(file.target, file)
        if owner != file and not seen.handled:
            print_message(f"clearcut: {file.name}: {owner.name} has the same output {file.target}; not processed")
            seen.handled = True
        return owner != file
