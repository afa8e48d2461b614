"""The interface of blob stores.

The methods block; call them on a thread, never on the event loop. A blob is written as a whole. A second ``put`` with
the same key replaces it. An expired blob cannot be read any more, and the next ``sweep`` deletes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

Buffer = bytes | bytearray | memoryview
CHUNK_BYTES = 256 * 1024
"""Maximum size of the chunks of ``open_range``."""
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")


@dataclass(frozen=True, slots=True)
class BlobStat:
    """Metadata of a blob."""

    size: int
    """Size in bytes."""
    media_type: str
    expires_at: float
    """Expiry, Unix time in seconds."""
    etag: str
    """Entity tag without quotes. It changes when the data changes."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored file with its metadata."""

    data: bytes
    stat: BlobStat


class BlobStore(Protocol):
    """A store of blobs. All methods raise OSError or Unavailable if the disk or the server fails."""

    def put(self, key: str, data: Buffer, media_type: str, expires_at: float) -> BlobStat:
        """Store ``data`` as a whole.

        Args:
            expires_at: Unix time in seconds.

        Raises:
            StorageFull: the quota, or the share of the key's owner, would be exceeded.
            ValueError: the key or the media type is malformed.
        """

    def get(self, key: str) -> Blob:
        """Return a blob. Raises KeyError if it does not exist or has expired."""

    def stat(self, key: str) -> BlobStat:
        """Return the metadata of a blob. Raises KeyError if it does not exist or has expired."""

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Read the bytes from ``start`` up to, not including, ``end`` in chunks of at most ``CHUNK_BYTES``.

        The blob stays readable if it is deleted meanwhile.

        Raises:
            KeyError: the blob does not exist or has expired. Raised by the call, not by the first chunk.
        """

    def delete(self, key: str) -> None:
        """Delete a blob, if it exists."""

    def sweep(self, now: float) -> int:
        """Delete the blobs that have expired by ``now`` (Unix time), and remains of interrupted ``put`` calls.

        Returns:
            The number of deleted files.
        """

    def require_space(self, key: str) -> None:
        """Check that at least one byte can be stored under the key. The count of used bytes may be some seconds old.

        Raises:
            StorageFull: the quota, or the share of the key's owner, is used up.
        """


def check_key(key: str) -> str:
    """Return the key if it is valid.

    A key has 1 to 128 letters, digits, dots, hyphens and underscores, and starts with a letter or digit.

    Raises:
        ValueError: the key is malformed.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"malformed blob key {key[:20]!r}")
    return key


def check_media_type(media_type: str) -> str:
    """Return the media type if it is valid, such as ``image/png``. Raises ValueError otherwise."""
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"malformed media type {media_type[:20]!r}")
    return media_type
