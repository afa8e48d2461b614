"""The processing of one file. ``clearcut cut``, ``clearcut watch`` and Ray actors all use this function."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
    """One output of a file."""

    data: Buffer
    confidence: float
    box: Box | None
    moderation: str | None = None
    """``passed``, ``not run`` without a classifier, or None if it was not requested."""


class FileFailed(Exception):
    """The cut-out of one file failed; the text is for the user."""

    code = "server_error"


class Backend(Protocol):
    """Removes backgrounds of files; several threads may call it at once."""

    concurrency: int
    """Number of threads that keep it busy."""

    def cut(self, data: bytes, options: Mapping[str, Any] | None = None) -> Sequence[FileOutput]:
        """Remove the background of a file and return its outputs: several with ``variants``, else one.

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
            options: as for ``clearcut.remove``, and ``variants`` as a JSON text.
            workers: threads for decoding and encoding.

        Raises:
            StartupError: the model cannot run.
        """
        self._remover, self._options = remover, dict(options)
        self._variants = self._options.pop("variants", None)
        self.concurrency = 2 * workers + 4  # some files are read and written while others wait for the model
        remover.load()

    def cut(self, data: bytes, options: Mapping[str, Any] | None = None) -> Sequence[FileOutput]:
        result, _ = self._remover.process(data, {**self._options, **(options or {})}, variants=self._variants)
        # The confidence is rounded as in X-Matte-Confidence.
        return [
            FileOutput(each.image.data, round(each.confidence, 2), each.box, result.moderation)
            for each in result.outputs
        ]

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
    cut: Callable[[bytes], Sequence[FileOutput]],
    write: Callable[[Sequence[FileOutput]], None],
) -> ItemResult:
    """Read a file, remove its background and write its outputs. The result has the values of the first output.

    Args:
        name: of the file, for errors without a file name.

    Raises:
        StartupError: every file would fail.
    """
    begun = time.monotonic()
    try:
        outputs = cut(read())
        write(outputs)
    except StartupError:
        raise
    except OSError as exc:
        return ItemResult("error", code=STORAGE_ERROR, text=f"{exc.filename or name}: {exc.strerror or exc}")
    except (ClearcutError, FileFailed) as exc:
        return ItemResult("error", code=exc.code, text=str(exc))
    except Exception as exc:  # one file must not stop the others
        return ItemResult("error", code=UNEXPECTED_ERROR, text=f"unexpected error: {exc!r}")
    ms = round(1000 * (time.monotonic() - begun), 1)
    return ItemResult("ok", outputs[0].confidence, outputs[0].box, ms)
