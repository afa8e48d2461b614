"""A blob store in an S3-compatible bucket, through s3fs.

A blob with the key K that expires at E is the object ``prefix/K/E~type~subtype``. One listing of ``prefix/K/`` returns
all its metadata, and ``sweep`` finds expired blobs by their names, without a request for each object. botocore reads
the credentials, region and endpoint from its own variables, such as ``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT_URL``.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clearcut.errors import StartupError, Unavailable, missing_extra

from .base import CHUNK_BYTES, Blob, BlobStat, Buffer, check_key, check_media_type
from .quota import QuotaUsage

_NAME = re.compile(r"(\d{1,12})~([a-z0-9.+-]+)~([a-z0-9.+-]+)")
_RECOUNT_S = 60.0
"""Seconds between counts of all stored bytes, those of other nodes included."""

log = logging.getLogger("clearcut")


@contextmanager
def _convert_errors() -> Iterator[None]:
    """Convert botocore's exceptions.

    Raises:
        FileNotFoundError: the object does not exist.
        Unavailable: the server cannot be reached or refuses the request.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as exc:
        log.error("bucket request failed", extra={"fields": {"error": type(exc).__name__}})
        raise Unavailable("The storage for inputs and outputs cannot be reached", retry_after=5) from None


class BucketBlobs:
    """Blobs in a bucket. Several nodes can share the bucket.

    Args:
        files: an ``s3fs.S3FileSystem``.
        root: bucket/prefix.
        quota_bytes: maximum bytes of all blobs.
        clock: Unix time in seconds.
    """

    def __init__(self, files: Any, root: str, quota_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._clock = clock
        self._usage = QuotaUsage(quota_bytes, self._sizes, _RECOUNT_S)

    def put(self, key: str, data: Buffer, media_type: str, expires_at: float) -> BlobStat:
        folder = self._folder(key)
        name = f"{math.ceil(expires_at)}~{check_media_type(media_type).replace('/', '~')}"
        size = memoryview(data).nbytes
        previous = self._objects(folder)
        self._usage.reserve(key, size)
        path = f"{folder}/{name}"
        try:
            with _convert_errors():
                self._files.pipe_file(path, bytes(data), ContentType=media_type)
                info = self._files.info(path)
        except BaseException:
            self._usage.invalidate()
            raise
        self._remove([old for old in previous if old != path])
        return self._stat(path, info)

    def get(self, key: str) -> Blob:
        path, stat = self._find(key)
        return Blob(self._read(key, path, None, None), stat)

    def stat(self, key: str) -> BlobStat:
        return self._find(key)[1]

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        path, _ = self._find(key)
        return self._chunks(key, path, start, end)

    def delete(self, key: str) -> None:
        self._remove(self._objects(self._folder(key)))
        self._usage.invalidate()

    def sweep(self, now: float) -> int:
        expired = [path for path in self._objects(self._root) if self._expiry(path) <= now]
        self._remove(expired)
        self._usage.invalidate()
        return len(expired)

    def require_space(self, key: str) -> None:
        self._usage.require_space(key)

    def _sizes(self) -> list[tuple[str, int]]:
        return [(path.split("/")[-2], int(info["size"])) for path, info in self._objects(self._root).items()]

    def _chunks(self, key: str, path: str, start: int, end: int) -> Iterator[bytes]:
        for begin in range(start, end, CHUNK_BYTES):
            yield self._read(key, path, begin, min(begin + CHUNK_BYTES, end))

    def _read(self, key: str, path: str, start: int | None, end: int | None) -> bytes:
        try:
            with _convert_errors():
                return bytes(self._files.cat_file(path, start=start, end=end))
        except FileNotFoundError:  # deleted since it was found
            raise KeyError(key) from None

    def _find(self, key: str) -> tuple[str, BlobStat]:
        try:
            objects = self._objects(self._folder(key))
        except ValueError:  # a malformed key names no blob
            raise KeyError(key) from None
        if not objects:
            raise KeyError(key)
        path = max(objects, key=self._expiry)
        stat = self._stat(path, objects[path])
        if stat.expires_at <= self._clock():
            raise KeyError(key)
        return path, stat

    def _objects(self, folder: str) -> dict[str, Any]:
        """Return the blobs in a folder: the current metadata of each object by path."""
        with _convert_errors():
            objects = self._files.find(folder, detail=True, refresh=True)
        return {path: info for path, info in objects.items() if _NAME.fullmatch(path.rpartition("/")[2])}

    def _remove(self, paths: list[str] | dict[str, Any]) -> None:
        for path in paths:
            try:
                with _convert_errors():
                    self._files.rm_file(path)
            except FileNotFoundError:
                continue  # another node deleted it

    def _folder(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _expiry(self, path: str) -> float:
        return float(path.rpartition("/")[2].partition("~")[0])

    def _stat(self, path: str, info: Any) -> BlobStat:
        expires, kind, subtype = path.rpartition("/")[2].split("~")
        etag = re.sub(r"[^A-Za-z0-9-]", "", str(info.get("ETag", "")))
        return BlobStat(int(info["size"]), f"{kind}/{subtype}", float(expires), etag)


def bucket_blobs(url: str, quota_bytes: int) -> BucketBlobs:
    """Open the store at ``s3://bucket/prefix`` and list the bucket once as a check.

    Raises:
        StartupError: s3fs is not installed, or the bucket cannot be listed.
    """
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?", url):
        raise StartupError("CLEARCUT_BLOBS: expected s3://bucket or s3://bucket/prefix")
    try:
        import s3fs
    except ImportError:
        raise StartupError(f"CLEARCUT_BLOBS: {missing_extra('s3')}") from None
    files = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    root = url.removeprefix("s3://").rstrip("/")
    bucket, _, prefix = root.partition("/")
    try:
        files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except Exception as exc:  # botocore raises many classes: wrong name, network, missing permission
        raise StartupError(f"CLEARCUT_BLOBS={url} cannot be listed: {type(exc).__name__}: {exc}") from None
    return BucketBlobs(files, root, quota_bytes)
