"""Atomic writes of files, and the temporary folder of a run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, MutableSet
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_FOLDER = ".clearcut-parts"
"""Folder within the output folder for files that are being written."""
_LOCK = "lock"


def write_file(
    path: Path,
    data: bytes | bytearray | memoryview,
    partial_files: MutableSet[Path] | None = None,
    temporary: Path | None = None,
) -> None:
    """Write a file, with its folders. Until it is complete it has another, hidden name.

    Args:
        partial_files: contains the hidden name while it exists.
        temporary: folder on the same file system for the incomplete file; None uses the folder of ``path``.

    Raises:
        OSError: it cannot be written.
    """
    names: MutableSet[Path] = set() if partial_files is None else partial_files
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, because processes on different machines can have equal numbers.
    partial = (temporary or path.parent) / f".clearcut-{os.getpid()}-{secrets.token_hex(8)}.part"
    names.add(partial)
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        names.discard(partial)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[None]:
    """Create the temporary folder of an output folder, and delete what killed runs left there.

    Runs that write to the same folder share the temporary folder. Only a run that is alone there deletes files.
    POSIX only: the lock is flock(2), which the kernel releases when a process is killed.

    Raises:
        OSError: the folder cannot be written.
    """
    import fcntl  # not on Windows

    temporary = folder / TEMPORARY_FOLDER
    temporary.mkdir(parents=True, exist_ok=True)
    with (temporary / _LOCK).open("wb") as lock:
        if _is_alone(lock.fileno()):
            _delete_files(temporary)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
        if _is_alone(lock.fileno()):
            _delete_files(temporary)
            (temporary / _LOCK).unlink()
            temporary.rmdir()


def _is_alone(descriptor: int) -> bool:
    """Return whether no other run holds the lock, and take it if so."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _delete_files(temporary: Path) -> None:
    for path in temporary.iterdir():
        if path.name != _LOCK:
            path.unlink(missing_ok=True)
