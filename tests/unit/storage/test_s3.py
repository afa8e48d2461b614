"""A bucket with an unreachable server. tests/live/test_s3.py tests a real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from clearcut.errors import StorageFull, Unavailable
from clearcut.storage.s3 import BucketBlobs


class UnreachableBucket:
    """Raises exceptions as s3fs with botocore does; they are no OSError."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_: object, **__: object) -> Any:
            raise RuntimeError("EndpointConnectionError")

        return fail


@pytest.mark.parametrize(
    "work",
    [
        lambda blobs: blobs.put("k", b"x", "image/png", time.time() + 60),
        lambda blobs: blobs.get("k"),
        lambda blobs: blobs.stat("k"),
        lambda blobs: blobs.open_range("k", 0, 1),
        lambda blobs: blobs.delete("k"),
        lambda blobs: blobs.sweep(0.0),
        lambda blobs: blobs.require_space("k"),
    ],
)
def test_unreachable_server_raises_unavailable(work):
    with pytest.raises(Unavailable) as caught:
        work(BucketBlobs(UnreachableBucket(), "bucket/prefix", 1000))
    assert caught.value.retry_after


def test_bytes_of_listed_objects_count_for_their_owner():
    class Listed:
        def find(self, *_: object, **__: object) -> dict[str, Any]:
            return {"bucket/prefix/a--1.png/99999999999~image~png": {"size": 760}}

    blobs = BucketBlobs(Listed(), "bucket/prefix", 1000)
    blobs.require_space("b--1.png")
    with pytest.raises(StorageFull, match="share"):
        blobs.require_space("a--2.png")
