"""npm packages, a registry that serves one, and a client that only prints."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.model_origin import Origin, published

NAME, VERSION = "@owner/models", "1.2.3"
METADATA = f"/@owner%2Fmodels/{VERSION}"


def tarball(files: Mapping[str, bytes]) -> bytes:
    """Return the tarball of a package."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def chunked(data: bytes, size: int, resource: str = "/models/medium") -> dict[str, bytes]:
    """Return the files of a package that contains ``data`` in chunks."""
    chunks, files = [], {}
    for begin in range(0, len(data), size):
        part = data[begin : begin + size]
        digest = hashlib.sha256(part).hexdigest()
        files[f"dist/{digest}"] = part
        chunks.append({"hash": digest, "offsets": [begin, begin + len(part)]})
    index = {resource: {"chunks": chunks, "size": len(data)}}
    return {"dist/resources.json": json.dumps(index).encode(), **files}


@contextmanager
def registry(data: bytes, stated: str | None = None) -> Iterator[Origin]:
    """Serve a tarball and its metadata. The server sends no ETag, like a registry behind a proxy."""
    with published(data) as origin:
        origin.etag = ""
        dist = {"tarball": f"{origin.url}/models.tgz", "integrity": stated or integrity(data)}
        origin.others[METADATA] = json.dumps({"name": NAME, "dist": dist}).encode()
        yield origin


def install_client(folder: Path, *, view: object, pack: bytes | None = None) -> Path:
    """Write an ``npm`` that prints ``view`` and packs ``pack``; return the file with its calls."""
    calls, stored = folder / "calls.txt", folder / "packed.tgz"
    if pack is not None:
        stored.write_bytes(pack)
    (folder / "view.json").write_text(json.dumps(view))
    client = folder / "npm"
    client.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n'
        f'if [ "$1" = view ]; then exec cat {folder}/view.json; fi\n'
        f"[ -f {stored} ] || {{ echo 'npm error code E404' >&2; exit 1; }}\n"
        f'cp {stored} "$5/owner-models-{VERSION}.tgz"\n'
        f'echo \'[{{"filename": "owner-models-{VERSION}.tgz"}}]\'\n'
    )
    client.chmod(client.stat().st_mode | stat.S_IXUSR)
    return calls
