"""From settings to a blob store and the secret that signs its addresses."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from clearcut.errors import StartupError
from clearcut.settings import MIB, Settings

from .base import BlobStore
from .local import FolderBlobs


def blob_store(settings: Settings) -> BlobStore:
    """The store that the settings ask for; blocks while it looks whether it can be written to.

    Raises:
        StartupError: it cannot, or what it needs is not installed; names the variable.
    """
    quota = settings.blob_quota_mb * MIB
    if settings.blobs:
        from .s3 import bucket_blobs  # needs s3fs, which serving from a folder does not install

        return bucket_blobs(settings.blobs, quota)
    folder = data_folder(settings)
    return FolderBlobs(folder / "blobs", quota)


def data_folder(settings: Settings) -> Path:
    """``CLEARCUT_DATA_DIR``, made if need be, for its owner alone.

    Raises:
        StartupError: it cannot be made or written to.
    """
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StartupError(f"CLEARCUT_DATA_DIR={folder} cannot be made: {exc.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartupError(f"CLEARCUT_DATA_DIR={folder} cannot be written to")
    return folder


def signing_secrets(settings: Settings) -> tuple[bytes, ...]:
    """What signs the addresses of outputs, and what else is good; kept in the data folder where none is set.

    Raises:
        StartupError: a secret is shorter than 16 characters, or the folder cannot be used.
    """
    if settings.signing_secret is not None:
        given = [each.strip() for each in settings.signing_secret.get_secret_value().split(",")]
        if any(len(each) < 16 for each in given):
            raise StartupError("CLEARCUT_SIGNING_SECRET: each secret needs at least 16 characters")
        return tuple(each.encode() for each in given)
    path = data_folder(settings) / "signing-secret"
    if not path.exists():
        fresh = path.with_name(f"signing-secret.{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # which fails where another process was first
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return (path.read_text().strip().encode(),)
