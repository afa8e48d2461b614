"""The run of ``clearcut cut``: files in parallel, progress, report and copies for review."""

from __future__ import annotations

import csv
import io
import sys
import threading
import time
from collections.abc import MutableSet, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clearcut.batch.files import write_file
from clearcut.batch.process import Backend, FileOutput, process_item
from clearcut.imaging.types import Box

from .cut_files import CutFile
from .terminal import end_progress, print_message, show_progress

PROGRESS_S = 0.2
"""Minimum time between two updates of the progress line, seconds."""
MODERATION_NOT_RUN = (
    "moderation was not run, because there is no classifier. On the machine that runs the model, download one: "
    "clearcut models pull nsfw"
)
REPORT_COLUMNS = ("file", "status", "confidence", "box", "ms", "error")


@dataclass(frozen=True, slots=True)
class Review:
    """Where copies of doubtful outputs go."""

    folder: Path
    min_confidence: float
    """Outputs with a lower confidence are copied."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """One row of the report."""

    file: CutFile
    status: Literal["ok", "skipped", "error"]
    confidence: float | None = None
    box: Box | None = None
    ms: float | None = None
    """Time from the start of reading to the end of writing, milliseconds."""
    error: str = ""


class CutRun:
    """The processing of files. ``reports`` has the finished ones, also after an interruption."""

    def __init__(self, backend: Backend, review: Review | None, *, progress: bool, keep_existing: bool = False) -> None:
        """
        Args:
            progress: show a progress line on standard error.
            keep_existing: do not replace outputs that exist.
        """
        self.reports: list[FileReport] = []
        self.partial_files: MutableSet[Path] = set()
        """Names of files that are being written."""
        self._backend = backend
        self._review = review
        self._progress = progress
        self._keep_existing = keep_existing
        self._stopped = threading.Event()
        self._moderation_missing = threading.Event()
        self._warned = False

    def process(self, files: Sequence[CutFile], *, quiet: bool = False) -> None:
        """Process files in parallel, and print the failed ones unless ``quiet``.

        Raises:
            StartupError: no file can be processed.
            KeyboardInterrupt: after the running files have ended. None of their outputs is partial.
        """
        # On the main thread, where Ctrl-C interrupts it: another process may keep standard input open.
        stdin = sys.stdin.buffer.read() if files[0].source is None else b""
        pool = ThreadPoolExecutor(min(self._backend.concurrency, len(files)), thread_name_prefix="cut")
        begun = time.monotonic()
        futures: list[Future[FileReport]] = []
        try:
            shown_at = 0.0
            for file in files:
                futures.append(pool.submit(self._process_file, file, stdin))  # noqa: PERF401 - an interruption needs them
            for count, future in enumerate(as_completed(futures), 1):
                report = future.result()
                self.reports.append(report)
                self._warn_of_missing_moderation()
                if report.status == "error" and not quiet:
                    print_message(f"clearcut: {report.file.name}: {report.error}", replace_progress=self._progress)
                now = time.monotonic()
                if self._progress and (now - shown_at >= PROGRESS_S or count == len(files)):
                    shown_at = now
                    _show_progress(count, len(files), now - begun)
        except KeyboardInterrupt:
            print_message("clearcut: stopping after the files in progress; press Ctrl-C again to stop at once")
            pool.shutdown(wait=True, cancel_futures=True)
            self.close()
            raise
        except BaseException:
            self.close()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._add_unreported(futures)
            if self._progress:
                end_progress()

    def close(self) -> None:
        """End the backend. Files in progress get no output."""
        self._stopped.set()
        self._backend.close()

    def _warn_of_missing_moderation(self) -> None:
        """Print one warning for all files if moderation was requested and there is no classifier."""
        if self._moderation_missing.is_set() and not self._warned:
            self._warned = True
            print_message(f"clearcut: warning: {MODERATION_NOT_RUN}", replace_progress=self._progress)

    def _add_unreported(self, futures: Sequence[Future[FileReport]]) -> None:
        """After an interruption, add the reports of outputs that were written and not reported yet."""
        reported = {report.file for report in self.reports}
        for future in futures:
            if future.done() and not future.cancelled() and future.exception() is None:
                report = future.result()
                if report.status == "ok" and report.file not in reported:
                    self.reports.append(report)

    def _process_file(self, file: CutFile, stdin: bytes) -> FileReport:
        def read() -> bytes:
            return stdin if file.source is None else file.source.read_bytes()

        def write(outputs: Sequence[FileOutput]) -> None:
            if self._stopped.is_set():
                raise InterruptedError
            if outputs[0].moderation == "not run":
                self._moderation_missing.set()
            if file.target is None:
                sys.stdout.buffer.write(outputs[0].data)
                sys.stdout.buffer.flush()
            for target, output in zip(file.targets, outputs, strict=file.target is not None):
                if not (self._keep_existing and target.exists()):
                    write_file(target, output.data, self.partial_files)
            for relative, output in zip(file.relatives, outputs, strict=True):
                if self._review is not None and output.confidence < self._review.min_confidence:
                    write_file(self._review.folder / relative, output.data, self.partial_files)

        result = process_item(file.name, read, self._backend.cut, write)
        return FileReport(file, result.status, result.confidence, result.box, result.ms, result.text)


def _show_progress(count: int, total: int, seconds: float) -> None:
    rate = count / max(seconds, 1e-6)
    minutes, rest = divmod(round((total - count) / rate), 60)
    show_progress(f"{count}/{total}  {rate:.1f} images/s  {minutes}:{rest:02d} left")


def summary(reports: Sequence[FileReport], seconds: float) -> str:
    """Return one line with the number of files by status and the rate."""
    written, skipped, failed = (sum(each.status == status for each in reports) for status in ("ok", "skipped", "error"))
    parts = [f"{written} written"]
    if skipped:
        parts.append(f"{skipped} skipped (they exist; --overwrite replaces them)")
    if failed:
        parts.append(f"{failed} failed")
    rate = f" in {seconds:.1f} s, {written / seconds:.1f} images/s" if written and seconds > 0 else ""
    return ", ".join(parts) + rate


def write_report(path: Path, reports: Sequence[FileReport]) -> None:
    """Write the report as CSV, sorted by file; boxes are ``left top width height`` in pixels.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(REPORT_COLUMNS)
    for each in sorted(reports, key=lambda report: report.file.name):
        box = f"{each.box.left} {each.box.top} {each.box.width} {each.box.height}" if each.box else ""
        writer.writerow((each.file.name, each.status, each.confidence, box, each.ms, each.error))
    write_file(path, text.getvalue().encode("utf-8", "surrogateescape"))
