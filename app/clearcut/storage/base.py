"""What a blob store is, whatever holds the bytes.

Its methods block: they are for a thread, never for the event loop. A blob is written once and whole; a second ``put``
under its key replaces it. What has expired is as good as gone at once, and gone for good with the next ``sweep``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

Buffer = bytes | bytearray | memoryview
CHUNK_BYTES = 256 * 1024
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")


@dataclass(frozen=True, slots=True)
class Stat:
    size: int
    """Bytes."""
    media_type: str
    expires_at: float
    """Unix time, seconds."""
    etag: str
    """Without quotes; another one when the bytes are others."""


@dataclass(frozen=True, slots=True)
class Blob:
    data: bytes
    stat: Stat


class BlobStore(Protocol):
    """All of it raises OSError or Unavailable where the disk or the server behind it fails."""

    def put(self, key: str, data: Buffer, media_type: str, expires_at: float) -> Stat:
        """Keep ``data`` until ``expires_at`` (Unix time); all of it or nothing.

        Raises:
            StorageFull: it would exceed the quota, or the share of it that the key's owner may have.
            ValueError: the key or the media type is malformed.
        """

    def get(self, key: str) -> Blob:
        """Raises KeyError: there is none, or it has expired."""

    def stat(self, key: str) -> Stat:
        """Raises KeyError: there is none, or it has expired."""

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes ``start`` to ``end`` (not included) in pieces of at most ``CHUNK_BYTES``; what is open stays readable.

        Raises:
            KeyError: there is none, or it has expired; at the call, not at the first piece.
        """

    def delete(self, key: str) -> None:
        """Nothing happens where there is none."""

    def sweep(self, now: float) -> int:
        """Remove what has expired by ``now`` (Unix time), and what an interrupted ``put`` left; how many."""

    def require_space(self, key: str) -> None:
        """Refuse a key under which not one more byte could be put. The count may be some seconds old.

        Raises:
            StorageFull
        """


def check_key(key: str) -> str:
    """The key, if it is 1 to 128 letters, digits, dots, hyphens and underscores and begins with a letter or digit.

    Raises:
        ValueError: it is not.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"malformed blob key {key[:20]!r}")
    return key


def check_media_type(media_type: str) -> str:
    """Raises ValueError: it is none, such as ``image/png``."""
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"malformed media type {media_type[:20]!r}")
    return media_type
