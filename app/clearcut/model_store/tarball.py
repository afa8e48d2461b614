"""Files of an npm package's tarball, read without extracting it."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path

from .errors import DownloadError

MAX_MEMBER_BYTES = 256 << 20
"""Maximum size of one file. It keeps a crafted tarball from filling the memory."""


def read_files(tarball: Path, names: Collection[str]) -> dict[str, bytes]:
    """Return files of a tarball by name.

    Args:
        tarball: gzip-compressed tar file of a package.
        names: paths below the package's top folder.

    Raises:
        DownloadError: the file is no tarball, a file is missing or too large.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                name = member.name.partition("/")[2]
                if name not in names or not member.isfile():
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise DownloadError(f"{tarball.name}: {name} has more than {MAX_MEMBER_BYTES} bytes")
                content = archive.extractfile(member)
                found[name] = content.read() if content is not None else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        raise DownloadError(f"{tarball.name} cannot be read: {exc}") from exc
    if missing := sorted(set(names) - set(found)):
        raise DownloadError(f"{tarball.name} has no file {', '.join(missing[:3])}")
    return found
