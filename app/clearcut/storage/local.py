"""A blob store in a local folder.

Each blob is one file. Its first line is the metadata in JSON; its modification time is the expiry. A file is written
under a temporary name, flushed to the disk and renamed, so a crash leaves the whole file or none. ``sweep`` finds
expired files by their modification time, without opening them. Only the owner can read the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .base import CHUNK_BYTES, Blob, BlobStat, Buffer, check_key, check_media_type
from .quota import QuotaUsage

_TEMPORARY = ".part-"
_ORPHAN_S = 3600.0
"""Seconds. A temporary file of this age is from an interrupted ``put``."""
_RECOUNT_S = 10.0
"""Seconds between counts of all stored bytes, those of other processes included."""
_HEAD_BYTES = 512


class FolderBlobs:
    """Blobs in a folder. Several processes can share the folder.

    Args:
        folder: created when the first blob is stored.
        quota_bytes: maximum bytes of all blobs.
        clock: Unix time in seconds.
    """

    def __init__(self, folder: Path, quota_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._usage = QuotaUsage(quota_bytes, self._sizes, _RECOUNT_S)

    def put(self, key: str, data: Buffer, media_type: str, expires_at: float) -> BlobStat:
        path = self._path(key)
        view = memoryview(data).cast("B")
        etag = hashlib.sha256(view).hexdigest()[:32]
        stat = BlobStat(len(view), check_media_type(media_type), expires_at, etag)
        head = json.dumps([stat.size, stat.media_type, stat.expires_at, stat.etag]).encode() + b"\n"
        self._usage.reserve(key, len(head) + len(view))
        self._create_folders(path.parent)
        temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(head)
                file.write(view)
                file.flush()
                os.utime(file.fileno(), (expires_at, expires_at))
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            self._usage.invalidate()
            raise
        _flush_folder(path.parent)
        return stat

    def get(self, key: str) -> Blob:
        stat, file = self._open(key)
        with file:
            return Blob(file.read(), stat)

    def stat(self, key: str) -> BlobStat:
        stat, file = self._open(key)
        file.close()
        return stat

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        _, file = self._open(key)
        return _chunks(file, start, end)

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return
        self._usage.remove(key, size)

    def sweep(self, now: float) -> int:
        removed = 0
        for entry in self._entries():
            temporary = entry.name.startswith(_TEMPORARY)
            try:
                if entry.stat().st_mtime <= (now - _ORPHAN_S if temporary else now):
                    os.unlink(entry.path)
                    removed += 1
            except FileNotFoundError:
                continue  # another process deleted it
        self._usage.invalidate()
        return removed

    def require_space(self, key: str) -> None:
        self._usage.require_space(key)

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for entry in self._entries():
            with suppress(FileNotFoundError):
                yield entry.name, entry.stat().st_size

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            shards = [shard.path for shard in os.scandir(self._folder) if shard.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return
        for shard in shards:
            with os.scandir(shard) as entries:
                yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(check_key(key).encode()).hexdigest()[:2] / key

    def _create_folders(self, shard: Path) -> None:
        """Create missing folders and flush them to the disk, so that blobs survive a power failure."""
        for folder in (shard.parent, shard):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _flush_folder(folder.parent)

    def _open(self, key: str) -> tuple[BlobStat, BinaryIO]:
        """Open a blob. Returns its metadata, and the file at the first byte of the data."""
        try:
            file = self._path(key).open("rb")
        except (FileNotFoundError, ValueError):  # a malformed key names no blob
            raise KeyError(key) from None
        try:
            stat = BlobStat(*json.loads(file.readline(_HEAD_BYTES)))
            if stat.expires_at <= self._clock():
                raise KeyError(key)
        except BaseException:
            file.close()
            raise
        return stat, file


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start, os.SEEK_CUR)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk


def _flush_folder(folder: Path) -> None:
    """Flush a folder to the disk. A renamed file is safe only after its folder is flushed."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
