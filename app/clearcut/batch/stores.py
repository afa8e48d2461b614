"""Where bulk runs read and write: folders and object stores, selected by URL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from clearcut.imaging.types import Buffer

from .files import TEMPORARY_FOLDER, write_file

_SCHEME = re.compile(r"[a-z][a-z0-9+]*://")


class FileStore(Protocol):
    """Files by path or URL. Each method may be called by several threads at once, and raises OSError."""

    def read(self, path: str) -> bytes:
        """Return the contents of a file."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Return a file object, for lists that do not fit into memory."""
        ...

    def exists(self, path: str) -> bool:
        """Return whether there is a file."""
        ...

    def is_file(self, path: str) -> bool:
        """Return whether there is a file and not a folder or prefix."""
        ...

    def write(self, path: str, data: Buffer) -> None:
        """Write a file, which other readers see complete or not at all."""
        ...

    def list_keys(self, root: str) -> Iterator[str]:
        """Yield the paths of all files below a folder or prefix, relative to it, always in the same order."""
        ...


class LocalStore:
    """Files of mounted file systems."""

    def __init__(self, target: Path | None = None) -> None:
        """
        Args:
            target: the output folder; None for a store that is only read.
        """
        self._temporary = None if target is None else target / TEMPORARY_FOLDER

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def open(self, path: str) -> BinaryIO:
        return Path(path).open("rb")

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def is_file(self, path: str) -> bool:
        return Path(path).is_file()

    def write(self, path: str, data: Buffer) -> None:
        write_file(Path(path), data, temporary=self._temporary)

    def list_keys(self, root: str) -> Iterator[str]:
        """Yield paths folder by folder, without hidden files. Only one folder's names are in memory at a time."""
        folders = [""]
        while folders:
            folder = folders.pop()
            with os.scandir(Path(root, folder)) as entries:
                names = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
            yield from (os.path.join(folder, name) for name, is_folder in names if not is_folder)
            folders += [os.path.join(folder, name) for name, is_folder in reversed(names) if is_folder]


def is_url(path: str) -> bool:
    return _SCHEME.match(path) is not None


def open_store(path: str, *, target: bool = False) -> FileStore:
    """Return the store of a path or URL.

    Args:
        target: ``path`` is the folder or prefix of the outputs.

    Raises:
        StartupError: the package for the URL's scheme is not installed.
    """
    if not is_url(path):
        return LocalStore(Path(path) if target else None)
    from .object_store import ObjectStore

    return ObjectStore(path)


def join(root: str, key: str) -> str:
    """Return the path or URL of a key below a folder or prefix."""
    return f"{root.rstrip('/')}/{key}" if is_url(root) else os.path.join(root, key)
