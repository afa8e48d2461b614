"""Hash checks of model files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from clearcut.errors import StartupError


def hash_mismatch(data: bytes, sha256: str | None, md5: str | None = None) -> str | None:
    """Compare a file with the hashes in the manifest.

    Args:
        data: content of the file.
        sha256: expected SHA-256, or None.
        md5: expected MD5, or None.

    Returns:
        None if one hash matches or no hash is known; else a text with the found and the expected hash.
    """
    if sha256 is None and md5 is None:
        return None
    digest = hashlib.sha256(data).hexdigest()
    if digest == sha256:
        return None
    if md5 is None:
        return f"sha256 {digest}, the manifest says {sha256}"
    md5_digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if md5_digest == md5:
        return None
    return f"md5 {md5_digest}, the manifest says {md5}" + (f" or sha256 {sha256}" if sha256 else "")


def read_verified(kind: str, path: Path, sha256: str) -> bytes:
    """Return the content of a file. The hash is computed from the returned bytes, so the file cannot change in between.

    Args:
        kind: name of the model in messages, such as "Edge model".
        path: of the file.
        sha256: expected hash.

    Raises:
        StartupError: the file cannot be read or has another hash.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise StartupError(f"{kind}: {path} cannot be read: {exc.strerror}") from exc
    if mismatch := hash_mismatch(data, sha256):
        raise StartupError(f"{kind}: {path} has {mismatch}")
    return data
