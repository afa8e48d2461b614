"""The processing of one file. ``clearcut cut``, ``clearcut watch`` and Ray actors all use this function."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from clearcut.api import Remover
from clearcut.errors import ClearcutError, StartupError
from clearcut.imaging.types import Box, Buffer

STORAGE_ERROR = "storage_error"
"""Code of a file that cannot be read or written."""
UNEXPECTED_ERROR = "internal_server_error"


@dataclass(frozen=True, slots=True)
class FileOutput:
    """The cut-out of one file."""

    data: Buffer
    confidence: float
    box: Box | None


class FileFailed(Exception):
    """The cut-out of one file failed; the text is for the user."""

    code = "server_error"


class Backend(Protocol):
    """Removes backgrounds of files; several threads may call it at once."""

    concurrency: int
    """Number of threads that keep it busy."""

    def cut(self, data: bytes, options: Mapping[str, Any] | None = None) -> FileOutput:
        """Remove the background of a file.

        Args:
            options: options of this file; they replace those of the backend.

        Raises:
            ClearcutError, FileFailed, TypeError: this file fails.
            StartupError: every file would fail.
        """
        ...

    def close(self) -> None: ...


class LocalBackend:
    """Runs the model in this process."""

    def __init__(self, remover: Remover, options: Mapping[str, Any], workers: int) -> None:
        """Load the model.

        Args:
            options: as for ``clearcut.remove``.
            workers: threads for decoding and encoding.

        Raises:
            StartupError: the model cannot run.
        """
        self._remover, self._options = remover, options
        self.concurrency = 2 * workers + 4  # some files are read and written while others wait for the model
        remover.load()

    def cut(self, data: bytes, options: Mapping[str, Any] | None = None) -> FileOutput:
        output, _, _ = self._remover.process(data, {**self._options, **(options or {})})
        return FileOutput(output.image.data, round(output.confidence, 2), output.box)  # as in X-Matte-Confidence

    def close(self) -> None:
        self._remover.close()


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What happened to one file."""

    status: Literal["ok", "skipped", "error"]
    confidence: float | None = None
    box: Box | None = None
    ms: float | None = None
    """Time from the start of reading to the end of writing, milliseconds."""
    code: str = ""
    """Code of the error, such as ``unsupported_format``."""
    text: str = ""
    """Text of the error."""


def process_item(
    name: str,
    read: Callable[[], bytes],
    cut: Callable[[bytes], FileOutput],
    write: Callable[[FileOutput], None],
) -> ItemResult:
    """Read a file, remove its background and write the output.

    Args:
        name: of the file, for errors without a file name.

    Raises:
        StartupError: every file would fail.
    """
    begun = time.monotonic()
    try:
        output = cut(read())
        write(output)
    except StartupError:
        raise
    except OSError as exc:
        return ItemResult("error", code=STORAGE_ERROR, text=f"{exc.filename or name}: {exc.strerror or exc}")
    except (ClearcutError, FileFailed) as exc:
        return ItemResult("error", code=exc.code, text=str(exc))
    except Exception as exc:  # one file must not stop the others
        return ItemResult("error", code=UNEXPECTED_ERROR, text=f"unexpected error: {exc!r}")
    ms = round(1000 * (time.monotonic() - begun), 1)
    return ItemResult("ok", output.confidence, output.box, ms)
