"""Inputs and outputs of ``clearcut cut``: which files it reads and which files it writes."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearcut.imaging.formats.registry import INPUT_EXTENSIONS, OUTPUT_FORMATS

STANDARD_STREAM = "-"
OUTPUT_EXTENSIONS = {each.extension: each.extension for each in OUTPUT_FORMATS} | {
    each.name: each.extension for each in OUTPUT_FORMATS
}
"""Value of the option ``format`` by file name extension, such as jpg for jpeg."""


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_ADVICE_FOR_URLS = "download the file first (with --ray, folders such as s3://bucket/photos are accepted)"


class UsageError(Exception):
    """The command line is wrong; exit code 2."""


@dataclass(frozen=True, slots=True)
class CutFile:
    """One input and its output, or with ``variants`` its outputs."""

    source: Path | None
    """None: standard input."""
    target: Path | None
    """Path of the output, from which those of the variants derive. None: standard output."""
    relative: Path
    """Path of the output within the output folder."""
    variants: tuple[str, ...] = ()
    """Extension of the output of each variant; empty without ``variants``."""

    @property
    def name(self) -> str:
        return STANDARD_STREAM if self.source is None else str(self.source)

    @property
    def targets(self) -> tuple[Path, ...]:
        """Paths of all outputs; empty for standard output."""
        return () if self.target is None else self._numbered(self.target)

    @property
    def relatives(self) -> tuple[Path, ...]:
        """Paths of all outputs within the output folder."""
        return self._numbered(self.relative)

    def _numbered(self, path: Path) -> tuple[Path, ...]:
        if not self.variants:
            return (path,)
        return tuple(
            path.with_name(f"{path.stem}-{number}.{extension}") for number, extension in enumerate(self.variants, 1)
        )


@dataclass(frozen=True, slots=True)
class OutputNames:
    """How the names of outputs derive from those of the inputs."""

    extension: str
    suffix: str = ""
    """Added to the names of the outputs in a folder."""
    variants: tuple[str, ...] = ()
    """As in ``CutFile``."""

    def file_in_folder(self, source: Path, relative: Path, folder: Path) -> CutFile:
        """Return an input with its outputs in a folder.

        Args:
            relative: path of the input within its own folder.
        """
        name = relative.with_name(f"{relative.stem}{self.suffix}.{self.extension}")
        return CutFile(source, folder / name, name, self.variants)

    def is_output(self, stem: str) -> bool:
        """Return whether a file name without its extension can be that of an output."""
        if self.variants:
            name, _, number = stem.rpartition("-")
            return (
                number.isascii()
                and number.isdigit()
                and 1 <= int(number) <= len(self.variants)
                and name.endswith(self.suffix)
            )
        return stem.endswith(self.suffix)


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


def plan_files(inputs: Sequence[str], out: str, names: OutputNames, excluded: Sequence[Path] = ()) -> list[CutFile]:
    """Return all inputs with their outputs, sorted by path.

    Args:
        inputs: files, folders, or ``-``.
        out: a file if it has the extension of an output format, ``-``, or a folder. For one file as input, a folder
            with a dot in its name exists or ends with ``/``.
        names: of the outputs in a folder.
        excluded: folders that are not searched for images, beside the output folder.

    Raises:
        UsageError: an input does not exist or cannot be read, OUT does not fit the inputs, or two files have the same
            path.
    """
    if "" in (*inputs, out):
        raise UsageError("IN or OUT is empty")
    if url := next((each for each in (*inputs, out) if _URL.match(each)), None):
        raise UsageError(f"{url}: URLs are not accepted; {_ADVICE_FOR_URLS}")
    if Path(names.suffix).name != names.suffix and names.suffix:
        raise UsageError(f"--suffix: expected a part of a file name, got {names.suffix}")
    try:
        return _plan_files(inputs, out, names, excluded)
    except (OSError, ValueError) as exc:
        if isinstance(exc, OSError):
            raise UsageError(f"{exc.filename}: {exc.strerror}") from None
        raise UsageError(str(exc)) from None


def _plan_files(inputs: Sequence[str], out: str, names: OutputNames, excluded: Sequence[Path]) -> list[CutFile]:
    is_file = Path(out).suffix.lower().lstrip(".") in OUTPUT_EXTENSIONS and not out.endswith("/")
    if out == STANDARD_STREAM or (is_file and not Path(out).is_dir()):
        return [_single(inputs, out, names)]
    if STANDARD_STREAM in inputs:
        raise UsageError("the input '-' needs a file or '-' as OUT")
    folder = Path(out)
    one_file = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    looks_like_file = _is_image(folder) or (one_file and folder.suffix != "")
    if looks_like_file and not folder.is_dir() and not out.endswith("/"):
        extensions = ", .".join(OUTPUT_EXTENSIONS)
        raise UsageError(f"OUT is {out}: expected one of .{extensions}, or a folder; for a new folder, write {out}/")
    if file := next((each for each in (folder, *folder.parents) if each.is_file()), None):
        raise UsageError(f"OUT is {out}, but {file} is a file and no folder")
    files = [
        names.file_in_folder(source, relative, folder)
        for source, relative in _sources(inputs, [folder, *excluded], names)
    ]
    if not files:
        raise UsageError("no images in the inputs")
    return files


def images_of_folder(source: Path, out: Path, names: OutputNames, excluded: Sequence[Path]) -> list[CutFile]:
    """Return the images of a folder with their outputs in the folder ``out``; see ``plan_files``.

    Raises:
        OSError: the folder cannot be read.
    """
    found = _images(source, [out, *excluded], names)
    return [names.file_in_folder(each, each.relative_to(source), out) for each in found]


def _single(inputs: Sequence[str], out: str, names: OutputNames) -> CutFile:
    if len(inputs) > 1 or (inputs[0] != STANDARD_STREAM and Path(inputs[0]).is_dir()):
        raise UsageError(f"several inputs need a folder as OUT, not {out}")
    if names.suffix:
        raise UsageError("--suffix needs a folder as OUT")
    source = None if inputs[0] == STANDARD_STREAM else Path(inputs[0])
    if source is not None and not source.exists():
        raise UsageError(f"{source}: no such file or folder")
    if out == STANDARD_STREAM:
        if names.variants:
            raise UsageError("--variants writes several files; OUT is standard output, but must be a file or a folder")
        return CutFile(source, None, Path("stdout"))
    return CutFile(source, Path(out), Path(Path(out).name), names.variants)


def _sources(inputs: Sequence[str], excluded: Sequence[Path], names: OutputNames) -> Iterator[tuple[Path, Path]]:
    """Yield (file, path within the output folder)."""
    for each in inputs:
        path = Path(each)
        if path.is_dir():
            yield from ((found, found.relative_to(path)) for found in _images(path, excluded, names))
        elif path.exists():
            yield path, Path(path.name)
        else:
            raise UsageError(f"{path}: no such file or folder")


def _images(folder: Path, excluded: Sequence[Path], names: OutputNames) -> Iterator[Path]:
    """Yield the images of a folder, without hidden files, ``excluded`` folders and earlier outputs.

    Args:
        excluded: the output folder and further ones.
    """
    resolved = [each.resolve() for each in excluded]
    in_place = folder.resolve() == resolved[0]
    if in_place and not names.suffix:
        raise UsageError("IN and OUT are the same folder; use another OUT, or --suffix")

    def unreadable(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and (Path(parent) / name).resolve() not in resolved
        )  # fmt: skip
        for name in sorted(files):
            path = Path(parent) / name
            earlier_output = in_place and names.suffix and names.is_output(path.stem)
            if not name.startswith(".") and not earlier_output and _is_image(path):
                yield path


def _is_image(path: Path) -> bool:
    """Return whether the name is that of an image. Images in a format that cannot be read count, and fail later."""
    extension = path.suffix.lower().lstrip(".")
    if extension in INPUT_EXTENSIONS:
        return True
    return (mimetypes.guess_type(path.name)[0] or "").startswith("image/")
