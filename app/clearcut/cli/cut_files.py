"""Inputs and outputs of ``clearcut cut``: which files it reads and which files it writes."""

from __future__ import annotations

import mimetypes
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearcut.imaging.formats.registry import INPUT_EXTENSIONS, OUTPUT_FORMATS

STANDARD_STREAM = "-"
OUTPUT_EXTENSIONS = {each.extension: each.extension for each in OUTPUT_FORMATS} | {
    each.name: each.extension for each in OUTPUT_FORMATS
}
"""Value of the option ``format`` by file name extension, such as jpg for jpeg."""


class UsageError(Exception):
    """The command line is wrong; exit code 2."""


@dataclass(frozen=True, slots=True)
class CutFile:
    """One input and its output."""

    source: Path | None
    """None: standard input."""
    target: Path | None
    """None: standard output."""
    relative: Path
    """Path of the output within the output folder."""

    @property
    def name(self) -> str:
        return STANDARD_STREAM if self.source is None else str(self.source)


def format_for_output(out: str, requested: str | None) -> str | None:
    """Return the output format: the requested one, or that of the extension of OUT; None for the default.

    Raises:
        UsageError: OUT has the extension of another format.
    """
    extension = OUTPUT_EXTENSIONS.get(Path(out).suffix.lower().lstrip("."))
    if requested is None or extension is None or Path(out).is_dir():
        return requested or extension
    if requested.lower() not in OUTPUT_EXTENSIONS:
        return requested  # the check of the options rejects it
    if OUTPUT_EXTENSIONS[requested.lower()] != extension:
        raise UsageError(f"OUT is {out}, but --format is {requested}")
    return requested


def plan_files(
    inputs: Sequence[str], out: str, extension: str, suffix: str, excluded: Sequence[Path] = ()
) -> list[CutFile]:
    """Return all inputs with their outputs, sorted by path.

    Args:
        inputs: files, folders, or ``-``.
        out: a file if it has the extension of an output format, ``-``, or a folder.
        extension: of the outputs in a folder.
        suffix: added to the names of the outputs in a folder.
        excluded: folders that are not searched for images, beside the output folder.

    Raises:
        UsageError: an input does not exist or cannot be read, OUT does not fit the inputs, or two files have the same
            path.
    """
    if "" in (*inputs, out):
        raise UsageError("IN or OUT is empty")
    if Path(suffix).name != suffix and suffix:
        raise UsageError(f"--suffix: expected a part of a file name, got {suffix}")
    try:
        return _plan_files(inputs, out, extension, suffix, excluded)
    except (OSError, ValueError) as exc:
        if isinstance(exc, OSError):
            raise UsageError(f"{exc.filename}: {exc.strerror}") from None
        raise UsageError(str(exc)) from None


def _plan_files(
    inputs: Sequence[str], out: str, extension: str, suffix: str, excluded: Sequence[Path]
) -> list[CutFile]:
    is_file = Path(out).suffix.lower().lstrip(".") in OUTPUT_EXTENSIONS and not out.endswith("/")
    if out == STANDARD_STREAM or (is_file and not Path(out).is_dir()):
        return [_single(inputs, out, suffix)]
    if STANDARD_STREAM in inputs:
        raise UsageError("the input '-' needs a file or '-' as OUT")
    folder = Path(out)
    if not folder.is_dir() and not out.endswith("/") and _is_image(folder):
        raise UsageError(f"OUT is {out}: expected one of .{', .'.join(OUTPUT_EXTENSIONS)}, or a folder")
    if file := next((each for each in (folder, *folder.parents) if each.is_file()), None):
        raise UsageError(f"OUT is {out}, but {file} is a file and no folder")
    files = [
        _in_folder(source, relative, folder, extension, suffix)
        for source, relative in _sources(inputs, [folder, *excluded], suffix)
    ]
    if not files:
        raise UsageError("no images in the inputs")
    return files


def images_of_folder(source: Path, out: Path, extension: str, suffix: str, excluded: Sequence[Path]) -> list[CutFile]:
    """Return the images of a folder with their outputs in the folder ``out``; see ``plan_files``.

    Raises:
        OSError: the folder cannot be read.
    """
    found = _images(source, [out, *excluded], suffix)
    return [_in_folder(each, each.relative_to(source), out, extension, suffix) for each in found]


def _in_folder(source: Path, relative: Path, out: Path, extension: str, suffix: str) -> CutFile:
    name = relative.with_name(f"{relative.stem}{suffix}.{extension}")
    return CutFile(source, out / name, name)


def _single(inputs: Sequence[str], out: str, suffix: str) -> CutFile:
    if len(inputs) > 1 or (inputs[0] != STANDARD_STREAM and Path(inputs[0]).is_dir()):
        raise UsageError(f"several inputs need a folder as OUT, not {out}")
    if suffix:
        raise UsageError("--suffix needs a folder as OUT")
    source = None if inputs[0] == STANDARD_STREAM else Path(inputs[0])
    if source is not None and not source.exists():
        raise UsageError(f"{source}: no such file or folder")
    if out == STANDARD_STREAM:
        return CutFile(source, None, Path("stdout"))
    return CutFile(source, Path(out), Path(Path(out).name))


def _sources(inputs: Sequence[str], excluded: Sequence[Path], suffix: str) -> Iterator[tuple[Path, Path]]:
    """Yield (file, path within the output folder)."""
    for each in inputs:
        path = Path(each)
        if path.is_dir():
            yield from ((found, found.relative_to(path)) for found in _images(path, excluded, suffix))
        elif path.exists():
            yield path, Path(path.name)
        else:
            raise UsageError(f"{path}: no such file or folder")


def _images(folder: Path, excluded: Sequence[Path], suffix: str) -> Iterator[Path]:
    """Yield the images of a folder, without hidden files, ``excluded`` folders and earlier outputs."""
    resolved = [each.resolve() for each in excluded]
    in_place = folder.resolve() == resolved[0]

    def unreadable(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and (Path(parent) / name).resolve() not in resolved
        )  # fmt: skip
        for name in sorted(names):
            path = Path(parent) / name
            earlier_output = in_place and suffix and path.stem.endswith(suffix)
            if not name.startswith(".") and not earlier_output and _is_image(path):
                yield path


def _is_image(path: Path) -> bool:
    """Return whether the name is that of an image. Images in a format that cannot be read count, and fail later."""
    extension = path.suffix.lower().lstrip(".")
    if extension in INPUT_EXTENSIONS:
        return True
    return (mimetypes.guess_type(path.name)[0] or "").startswith("image/")


def check_collisions(
    files: Sequence[CutFile], read: Sequence[Path] = (), review: Path | None = None, report: Path | None = None
) -> None:
    """Check that no written path is an input or the path of another kind of output.

    Args:
        files: inputs and outputs.
        read: other files that are read.
        review: folder of the copies for review.
        report: file of the report.

    Raises:
        UsageError: a file would be replaced that is an input or another output.
    """
    inputs = [each.source for each in files if each.source is not None]
    sources = {_key(each): each for each in (*inputs, *read)}
    outputs: dict[str, CutFile] = {}
    for each in files:
        if each.target is None:
            continue
        key = _key(each.target)
        if key in sources:
            advice = "use another OUT, or --suffix with a folder"
            raise UsageError(f"the output of {each.name} would replace the input {sources[key]}; {advice}")
        outputs.setdefault(key, each)
    others = [] if review is None else [("--review", review / each.relative) for each in files]
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


def _key(path: Path) -> str:
    """Return equal texts for paths of the same file."""
    text = str(path.resolve())
    return text if sys.platform.startswith("linux") else text.casefold()


def is_finished(file: CutFile, *, overwrite: bool) -> bool:
    """Return whether the output exists and is to be kept.

    Raises:
        UsageError: something other than a file is at the path of the output.
    """
    try:
        if file.target is None or not os.path.lexists(file.target):
            return False
        if not file.target.is_file():
            kind = "a folder" if file.target.is_dir() else "not a regular file"
            raise UsageError(f"the output {file.target} exists and is {kind}")
    except OSError as exc:
        raise UsageError(f"{file.target}: {exc.strerror}") from None
    return not overwrite
