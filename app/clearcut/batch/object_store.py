"""Files in object stores and on web servers, through fsspec.

Each library reads its own variables for credentials and endpoints, such as ``AWS_ACCESS_KEY_ID``. The libraries retry
some errors themselves. A connection that is lost in the middle of a response often ends as another error, so that each
operation is repeated here as well.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, TypeVar, cast

from clearcut.errors import StartupError
from clearcut.imaging.types import Buffer

T = TypeVar("T")

ATTEMPTS = 6
"""Attempts of each operation."""
FIRST_WAIT_S = 0.5
"""Mean wait before the second attempt, seconds; it doubles with each further one."""
_PACKAGES = {
    "s3": "the extra 's3'", "s3a": "the extra 's3'", "gs": "the extra 'gcs'", "gcs": "the extra 'gcs'",
    "az": "the extra 'azure'", "abfs": "the extra 'azure'",
}  # fmt: skip
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Errors that another attempt would get as well."""

log = logging.getLogger("clearcut")


class StoreUnavailable(OSError):
    """An operation failed in each attempt."""


class ObjectStore:
    """Files of one fsspec file system."""

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """
        Args:
            url: any URL of the file system.

        Raises:
            StartupError: a package is not installed, or the scheme is unknown.
        """
        scheme = url.partition("://")[0]
        self._sleep = sleep
        try:
            import fsspec

            # Listings are not cached: other processes write at the same time.
            self._files: Any = fsspec.filesystem(scheme, use_listings_cache=False)
        except ImportError:
            package = _PACKAGES.get(scheme, f"the fsspec package for {scheme}://")
            raise StartupError(f"{url}: {package} is not installed") from None
        except ValueError as exc:
            raise StartupError(f"{url}: {exc}") from None

    def read(self, path: str) -> bytes:
        return bytes(self._repeat(path, lambda: self._files.cat_file(path)))

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, self._repeat(path, lambda: self._files.open(path, "rb")))

    def exists(self, path: str) -> bool:
        return bool(self._repeat(path, lambda: self._exists(path)))

    def is_file(self, path: str) -> bool:
        return bool(self._repeat(path, lambda: self._files.isfile(path)))

    def write(self, path: str, data: Buffer) -> None:
        """Write an object with one request, so that no reader sees a part of it."""
        self._repeat(path, lambda: self._files.pipe_file(path, bytes(data)))

    def list_keys(self, root: str) -> Iterator[str]:
        """Yield the keys below a prefix; from S3 page by page.

        Other stores return one folder at a time, so that the names of one folder are in memory.
        """
        prefix = self._files._strip_protocol(root).rstrip("/") + "/"
        if hasattr(self._files, "call_s3"):
            yield from self._s3_keys(prefix)
            return
        for folder, _, names in self._files.walk(prefix.rstrip("/")):
            relative = folder.strip("/").removeprefix(prefix.strip("/")).strip("/")
            yield from (f"{relative}/{name}" if relative else name for name in sorted(names))

    def _exists(self, path: str) -> bool:
        try:
            self._files.info(path)
        except FileNotFoundError:
            return False
        return True

    def _s3_keys(self, prefix: str) -> Iterator[str]:
        bucket, _, start = prefix.partition("/")
        page: dict[str, Any] = {}
        while not page or page.get("IsTruncated"):
            more = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
            request = partial(self._files.call_s3, "list_objects_v2", Bucket=bucket, Prefix=start, **more)
            page = self._repeat(prefix, request)
            yield from (
                each["Key"].removeprefix(start) for each in page.get("Contents", ()) if not each["Key"].endswith("/")
            )

    def _repeat(self, path: str, operation: Callable[[], T]) -> T:
        """Return the result of an operation; repeat it after errors that may be temporary.

        Raises:
            OSError: the file does not exist or must not be read, or all attempts failed.
        """
        for attempt in range(ATTEMPTS):
            try:
                return operation()
            except _FINAL:
                raise
            except Exception as exc:  # each library has its own classes for lost connections
                if attempt == ATTEMPTS - 1:
                    raise StoreUnavailable(f"{path}: {type(exc).__name__}: {exc}") from None
                log.warning("storage request failed", extra={"fields": {"error": type(exc).__name__}})
                self._sleep(FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - not for security
        raise AssertionError("unreachable")
