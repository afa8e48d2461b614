"""Start-up checks of databases, folders, buckets and the job queue."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from clearcut.accounts.rate_limits import RateLimiter
from clearcut.errors import StartupError, missing_extra
from clearcut.settings import Settings
from clearcut.storage.factory import blob_store, signing_secrets

from .findings import Finding, Severity


def check_accounts(settings: Settings) -> Iterator[Finding]:
    """The database of keys and credits must be usable."""
    if settings.database_url:
        from clearcut.accounts.schema import check_database

        yield Finding("ok", "accounts", f"keys and credits in {check_database(settings.database_url)}")
    else:
        yield Finding("ok", "accounts", "none: all clients that can reach the service may use it")


def check_rate_limits(settings: Settings) -> Iterator[Finding]:
    """The URL of the rate-limit store must be valid and its client installed."""
    if settings.database_url:
        RateLimiter(settings.limits_url)
    yield from ()


def check_data_folder(settings: Settings) -> Iterator[Finding]:
    """The data folder must be writable if jobs store their queue, their files or a signing secret in it."""
    folder = settings.data_dir
    elsewhere = settings.jobs == "postgresql" and settings.blobs and settings.signing_secret is not None
    existing = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        yield Finding("ok", "data", f"{folder} " + ("is writable" if existing == folder else "can be created"))
    else:
        severity: Severity = "note" if settings.jobs == "off" or elsewhere else "error"
        yield Finding(severity, "data", f"CLEARCUT_DATA_DIR={folder} cannot be written to; jobs need it")


def check_blobs(settings: Settings) -> Iterator[Finding]:
    """Jobs need valid secrets, and access to their bucket."""
    if settings.jobs == "off":
        return
    from clearcut.jobs.webhook import signing_key

    if settings.webhook_secret is not None:
        signing_key(settings.webhook_secret.get_secret_value())
    if settings.signing_secret is not None:
        signing_secrets(settings)
    if settings.blobs:
        blob_store(settings)
        yield Finding("ok", "blobs", f"{settings.blobs} can be listed")


def check_jobs(settings: Settings) -> Iterator[Finding]:
    """The job queue must be installed and its database usable."""
    if settings.jobs == "off":
        return
    from clearcut.accounts.schema import check_database
    from clearcut.jobs.dbos_queue import dbos_installed
    from clearcut.jobs.nodes import postgres_url

    if not dbos_installed():
        raise StartupError(f"CLEARCUT_JOBS={settings.jobs}: {missing_extra('jobs')}")
    if settings.jobs == "sqlite":
        yield Finding("ok", "jobs", f"stored in {settings.data_dir}, for one process")
    else:
        yield Finding("ok", "jobs", f"stored in {check_database(postgres_url(settings))}")
