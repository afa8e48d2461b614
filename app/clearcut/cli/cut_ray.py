"""``clearcut cut --ray``: a bulk run on Ray, from and to folders, object stores and lists."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from clearcut import __version__
from clearcut.batch.actor_settings import actor_settings
from clearcut.batch.files import write_file
from clearcut.batch.listing import is_list_file
from clearcut.batch.stores import is_url, open_store
from clearcut.batch.summary import BatchSummary
from clearcut.batch.types import BatchPlan, BatchResources
from clearcut.errors import StartupError, missing_extra

from .argument_types import number, whole_number
from .cut_arguments import read_file_options
from .cut_files import STANDARD_STREAM, UsageError
from .cut_run import PROGRESS_S
from .interrupts import INTERRUPTED, InterruptHandler
from .terminal import end_progress, print_message, show_progress

FAILURES_FILE = "failures.jsonl"
"""Default name of the failures file, in the current folder."""
MAX_PRINTED = 20
"""Failed images that are printed; all are in the failures file."""
_UNSUPPORTED = ("server", "key", "report", "review", "workers", "variants")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of bulk runs."""
    group = parser.add_argument_group("bulk runs on Ray")
    group.add_argument("--ray", metavar="WHERE", help="local, auto (the running cluster) or ray://HOST:PORT")
    count = whole_number(1, 100_000)
    group.add_argument("--actors", type=count, default=0, metavar="N", help="maximum number of actors (default: all)")
    group.add_argument("--actor-cpus", type=count, default=0, metavar="N", help="CPUs, and threads, of each actor")
    gpus_help = "GPUs of each actor, such as 0.5"
    group.add_argument("--num-gpus", type=number(0, 64), default=0.0, metavar="X", help=gpus_help)
    group.add_argument("--failures", type=Path, metavar="FILE", help=f"failed images (default: {FAILURES_FILE})")
    group.add_argument("--summary", type=Path, metavar="FILE", help="write counts, rate and percentiles as JSON")


def check_ray_arguments(arguments: argparse.Namespace) -> None:
    """Raise UsageError if the arguments do not fit a bulk run."""
    mode = arguments.ray
    if mode not in ("local", "auto") and not mode.startswith("ray://"):
        raise UsageError(f"--ray: expected local, auto or ray://HOST:PORT, got {mode}")
    used = [f"--{name}" for name in _UNSUPPORTED if getattr(arguments, name)]
    if used:
        raise UsageError(f"{', '.join(used)}: not together with --ray")
    if len(arguments.inputs) != 1:
        raise UsageError("--ray: expected one IN: a folder, a prefix such as s3://bucket/photos, or a list")
    source, out = arguments.inputs[0], arguments.out
    if STANDARD_STREAM in (source, out):
        raise UsageError("--ray: standard input and output cannot be used")
    if not is_url(source) and not (Path(source).is_dir() or (is_list_file(source) and Path(source).is_file())):
        raise UsageError(f"{source}: expected a folder, or a CSV, JSONL or Parquet file")
    if not is_url(out) and Path(out).exists() and not Path(out).is_dir():
        raise UsageError(f"{out}: expected a folder")
    same = source.rstrip("/") == out.rstrip("/") if is_url(source) else Path(source).resolve() == Path(out).resolve()
    if same and not arguments.suffix:
        raise UsageError("IN and OUT are the same folder; use another OUT, or --suffix")


def run(arguments: argparse.Namespace, fields: Mapping[str, str], extension: str, interrupts: InterruptHandler) -> int:
    """Run a bulk job and return the exit code: 0, 1 if an image failed, 130 after Ctrl-C.

    Raises:
        StartupError: Ray is not installed or not reachable, or no image can be processed.
    """
    try:
        from clearcut.batch import ray_run
    except ImportError as exc:
        raise StartupError(f"--ray: {missing_extra('ray')} ({exc})") from None
    plan = _plan(arguments, fields, extension)
    open_store(plan.source)
    open_store(plan.target)
    actor_settings(plan.settings, BatchResources(1, 1, arguments.num_gpus))  # errors before Ray starts
    begun = time.monotonic()
    failures = arguments.failures or Path(FAILURES_FILE)
    partial = failures.with_name(f".{failures.name}.part")
    summary = BatchSummary()
    code = 1
    with interrupts.processing({partial}):
        try:
            with ray_run.connection(arguments.ray):
                plan = replace(plan, resources=_resources(plan.resources, *ray_run.cluster_cpus()))
                plan = replace(plan, settings=actor_settings(plan.settings, plan.resources))
                partial.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("w", encoding="utf-8", errors="surrogateescape") as file:
                    _consume(ray_run.run_batch(plan, arguments.ray), summary, file)
            partial.replace(failures)
            code = 1 if summary.counts["error"] else 0
        except KeyboardInterrupt:
            print_message("interrupted; a further run continues with the missing outputs")
            code = INTERRUPTED
        except OSError as exc:
            raise StartupError(f"{exc.filename or failures}: {exc.strerror or exc}") from None
        finally:
            partial.unlink(missing_ok=True)
    _report(summary, time.monotonic() - begun, arguments.summary, failures)
    return code


def _plan(arguments: argparse.Namespace, fields: Mapping[str, str], extension: str) -> BatchPlan:
    options: dict[str, object] = {**fields, **read_file_options(arguments)}
    # Actors have another working folder.
    source, target = (
        each if is_url(each) else str(Path(each).resolve()) for each in (arguments.inputs[0], arguments.out)
    )
    chosen = {name: getattr(arguments, name) for name in ("model", "device") if getattr(arguments, name)}
    resources = BatchResources(arguments.actors, arguments.actor_cpus, arguments.num_gpus)
    return BatchPlan(
        source, target, extension, arguments.suffix, arguments.overwrite, options, chosen, resources, __version__
    )  # fmt: skip


def _resources(requested: BatchResources, total: int, smallest: int) -> BatchResources:
    """Return the resources with the defaults filled in.

    Args:
        total: CPUs of the cluster.
        smallest: CPUs of its smallest machine.
    """
    cpus = requested.cpus
    if not cpus:
        # Without --actors: one actor for each machine, because several threads can share one model.
        cpus = smallest if not requested.actors else max(1, min(smallest, total // requested.actors))
    return BatchResources(requested.actors or max(1, total // cpus), cpus, requested.gpus)


def _consume(blocks: Any, summary: BatchSummary, failures: TextIO) -> None:
    """Count the results, write the failures, and show the progress."""
    progress, begun, shown_at = sys.stderr.isatty(), time.monotonic(), 0.0
    for results in blocks:
        for key, status, code, text, ms in results:
            summary.add(status, code, ms)
            if status == "error":
                failures.write(json.dumps({"key": key, "code": code, "text": text}, ensure_ascii=False) + "\n")
                if summary.counts["error"] <= MAX_PRINTED:
                    print_message(f"clearcut: {key}: {text}", replace_progress=progress)
        failures.flush()
        now = time.monotonic()
        if progress and now - shown_at >= PROGRESS_S:
            shown_at = now
            rate = summary.counts["ok"] / max(now - begun, 1e-6)
            show_progress(f"{summary.total} images, {summary.counts['error']} failed, {rate:.1f} images/s")
    if progress:
        end_progress()


def _report(summary: BatchSummary, seconds: float, path: Path | None, failures: Path) -> None:
    counts = summary.counts
    values = summary.as_dict(seconds)
    p50, p95, p99 = summary.percentiles((0.50, 0.95, 0.99))
    parts = [f"{counts['ok']} written"]
    parts += [f"{counts['skipped']} skipped (they exist)"] if counts["skipped"] else []
    parts += [f"{counts['error']} failed (see {failures})"] if counts["error"] else []
    rate = f" in {seconds:.1f} s, {values['images_per_second']:.1f} images/s" if counts["ok"] else ""
    times = f"; ms per image: p50 {p50:g}, p95 {p95:g}, p99 {p99:g}" if counts["ok"] else ""
    print_message(", ".join(parts) + rate + times)
    if path is not None:
        try:
            write_file(path, (json.dumps(values, indent=2) + "\n").encode())
        except OSError as exc:
            raise StartupError(f"--summary {path}: {exc.strerror}") from None
