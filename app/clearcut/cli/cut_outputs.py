"""Checks of the outputs of ``clearcut cut`` before it starts: collisions, duplicates and finished files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .cut_files import STANDARD_STREAM, CutFile, UsageError


def check_collisions(
    files: Sequence[CutFile], other_inputs: Sequence[Path] = (), review: Path | None = None, report: Path | None = None
) -> None:
    """Check that no written path is an input or the path of another kind of output.

    Args:
        files: inputs and outputs.
        other_inputs: further files that are read.
        review: folder of the copies for review.
        report: file of the report.

    Raises:
        UsageError: a file would be replaced that is an input or another output.
    """
    inputs = [each.source for each in files if each.source is not None]
    sources = {_key(each): each for each in (*inputs, *other_inputs)}
    outputs: set[str] = set()
    for each in files:
        for key in map(_key, each.targets):
            if key in sources:
                advice = "use another OUT, or --suffix with a folder"
                raise UsageError(f"the output of {each.name} would replace the input {sources[key]}; {advice}")
            outputs.add(key)
    others = [] if review is None else [("--review", review / path) for each in files for path in each.relatives]
    others += [] if report is None else [("--report", report)]
    for flag, path in others:
        key = _key(path)
        if key in sources or key in outputs or path.is_dir():
            raise UsageError(f"{flag} would replace {path}")
    if review is not None and report is not None and _key(report) in {_key(path) for _, path in others[:-1]}:
        raise UsageError(f"--report would replace {report}")


def split_duplicates(files: Sequence[CutFile]) -> tuple[list[CutFile], list[tuple[CutFile, CutFile]]]:
    """Separate the files that have the output of an earlier file.

    Returns:
        (files with different outputs, [(file, earlier file with the same output)]). An input that is listed twice
        appears once.
    """
    owners: dict[str, CutFile] = {}
    duplicates = []
    for each in files:
        owner = owners.setdefault(_key(each.target) if each.target is not None else STANDARD_STREAM, each)
        if owner is not each and owner.source != each.source:
            duplicates.append((each, owner))
    return list(owners.values()), duplicates


def is_finished(file: CutFile, *, overwrite: bool) -> bool:
    """Return whether all outputs exist and are to be kept.

    Raises:
        UsageError: something other than a file is at the path of an output.
    """
    exist = [_exists(target) for target in file.targets]
    return bool(exist) and all(exist) and not overwrite


def _exists(target: Path) -> bool:
    """Return whether an output exists. Raises UsageError."""
    try:
        if not os.path.lexists(target):
            return False
        if not target.is_file():
            kind = "a folder" if target.is_dir() else "not a regular file"
            raise UsageError(f"the output {target} exists and is {kind}")
    except OSError as exc:
        raise UsageError(f"{target}: {exc.strerror}") from None
    return True


def _key(path: Path) -> str:
    """Return equal texts for paths of the same file."""
    text = str(path.resolve())
    return text if sys.platform.startswith("linux") else text.casefold()
