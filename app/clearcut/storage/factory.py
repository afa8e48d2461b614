"""Creates the blob store and reads the signing secrets, as the settings specify."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from clearcut.errors import StartupError
from clearcut.settings import MIB, Settings

from .base import BlobStore
from .local import FolderBlobs


def blob_store(settings: Settings) -> BlobStore:
    """Create the store of the settings and check that it can be used. Blocks.

    Raises:
        StartupError: the store cannot be used, or a package is not installed. The error names the variable.
    """
    quota = settings.blob_quota_mb * MIB
    if settings.blobs:
        from .s3 import bucket_blobs  # imports s3fs, an optional dependency

        return bucket_blobs(settings.blobs, quota)
    folder = data_folder(settings)
    return FolderBlobs(folder / "blobs", quota)


def data_folder(settings: Settings) -> Path:
    """Return ``CLEARCUT_DATA_DIR``. A missing folder is created, readable only by its owner.

    Raises:
        StartupError: the folder cannot be created or written to.
    """
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StartupError(f"CLEARCUT_DATA_DIR={folder} cannot be created: {exc.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartupError(f"CLEARCUT_DATA_DIR={folder} cannot be written to")
    return folder


def signing_secrets(settings: Settings) -> tuple[bytes, ...]:
    """Return the secrets of signed URLs: the first one signs, all of them verify.

    Without ``CLEARCUT_SIGNING_SECRET``, a random secret is generated and stored in the data folder.

    Raises:
        StartupError: a secret is shorter than 16 characters, or the folder cannot be used.
    """
    if settings.signing_secret is not None:
        configured = [secret.strip() for secret in settings.signing_secret.get_secret_value().split(",")]
        if any(len(secret) < 16 for secret in configured):
            raise StartupError("CLEARCUT_SIGNING_SECRET: each secret needs at least 16 characters")
        return tuple(secret.encode() for secret in configured)
    path = data_folder(settings) / "signing-secret"
    if not path.exists():
        temporary = path.with_name(f"signing-secret.{secrets.token_hex(8)}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails if another process was first
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return (path.read_text().strip().encode(),)
