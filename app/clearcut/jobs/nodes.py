"""The processes that share a queue, and the number of their unfinished jobs.

With SQLite, a lock on a file allows one process for each folder. With PostgreSQL, every process holds an advisory lock
in its own name while its connection is open. A process that can take the lock of another name knows that its owner
has ended.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clearcut.errors import StartupError, missing_extra
from clearcut.settings import Settings
from clearcut.storage.factory import data_folder
from clearcut.system import lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

FILE = "jobs.db"
_LOCK_SPACE = 0x636C63  # 'clc': identifies the advisory locks of this service in a shared database
_COUNT = (
    "select status, queue_partition_key, count(*) from {table} "
    "where name = 'job' and status in ('ENQUEUED', 'PENDING') group by status, queue_partition_key"
)
_OWNERS = "select distinct executor_id from dbos.workflow_status where status = 'PENDING' and executor_id is not null"


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Unfinished jobs on all nodes."""

    waiting: int
    processing: int
    by_partition: Mapping[str, int]
    """Waiting jobs by queue partition."""


def _counts(rows: Iterable[Sequence[Any]]) -> JobCounts:
    waiting = processing = 0
    partitions: Counter[str] = Counter()
    for status, partition, count in rows:
        if status == "PENDING":
            processing += count
        else:
            waiting += count
            partitions[partition or ""] += count
    return JobCounts(waiting, processing, partitions)


class NodeRegistry(Protocol):
    """The registry of processes. Its methods block; call them on a thread."""

    name: str
    """Name of this process in the queue."""
    url: str
    """SQLAlchemy URL of the queue's database."""

    def counts(self) -> JobCounts:
        """Return the numbers of unfinished jobs."""

    def recover(self, continue_jobs: Callable[[Sequence[str]], object]) -> None:
        """Call ``continue_jobs`` with the names of processes that have ended and have unfinished jobs."""

    def close(self) -> None:
        """Release the lock of this process."""


def queue_url(settings: Settings) -> str:
    """Return the SQLAlchemy URL of the queue's database.

    Raises:
        StartupError: the URL is not set, or the data folder cannot be used.
    """
    if settings.jobs == "sqlite":
        return f"sqlite:///{data_folder(settings) / FILE}"
    return "postgresql+psycopg://" + postgres_url(settings).partition("://")[2]


def postgres_url(settings: Settings) -> str:
    """Return the URL of the PostgreSQL database that stores the jobs.

    Raises:
        StartupError: no URL is set.
    """
    url = settings.jobs_url or settings.database_url
    if not url.startswith(("postgresql://", "postgres://", "postgresql+")):
        raise StartupError("CLEARCUT_JOBS=postgresql: set CLEARCUT_JOBS_URL=postgresql://…, or CLEARCUT_DATABASE_URL")
    return "postgresql://" + url.partition("://")[2]


class SingleNode:
    """A SQLite file in ``folder``, used by one process.

    Raises:
        StartupError: another process uses the folder.
    """

    name = "local"

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / FILE}"
        self._path = folder / FILE
        self._lock = os.open(folder / "jobs.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            lock_file(self._lock)
        except OSError:
            os.close(self._lock)
            raise StartupError(
                f"CLEARCUT_DATA_DIR={folder}: another process uses this folder for jobs. Use one folder for each "
                "process, or CLEARCUT_JOBS=postgresql for several nodes"
            ) from None
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # readable only by its owner
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # stored in the file; every commit still reaches the disk

    def counts(self) -> JobCounts:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return _counts(connection.execute(_COUNT.format(table="workflow_status")).fetchall())

    def recover(self, continue_jobs: Callable[[Sequence[str]], object]) -> None:
        """Do nothing: DBOS continues the jobs of the only process when it starts."""

    def close(self) -> None:
        os.close(self._lock)


class MultiNode:
    """A PostgreSQL database that several processes share.

    The locks belong to the database session: connect directly or through a pooler in session mode.

    Raises:
        StartupError: the database cannot be reached, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ModuleNotFoundError:
            raise StartupError(f"CLEARCUT_JOBS=postgresql: {missing_extra('jobs')}") from None
        self._driver = psycopg
        self.name = "node-" + secrets.token_hex(8)
        self._psycopg_url = "postgresql://" + url.partition("://")[2]
        self.url = url
        try:
            self._connection = self._connect()
        except psycopg.Error as exc:
            raise StartupError(f"CLEARCUT_JOBS=postgresql: the database cannot be used: {exc}") from None

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._driver.connect(self._psycopg_url, autocommit=True, connect_timeout=5)
        connection.execute("select pg_advisory_lock(%s, hashtext(%s))", (_LOCK_SPACE, self.name))
        return connection

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """Return the connection. A broken connection is replaced, and its lock is taken again."""
        if self._connection.closed:
            self._connection = self._connect()
        try:
            yield self._connection
        except self._driver.OperationalError:
            with suppress(Exception):
                self._connection.close()
            raise

    def counts(self) -> JobCounts:
        with self._session() as connection:
            return _counts(connection.execute(_COUNT.format(table="dbos.workflow_status")).fetchall())

    def recover(self, continue_jobs: Callable[[Sequence[str]], object]) -> None:
        with self._session() as connection:
            owners = [row[0] for row in connection.execute(_OWNERS).fetchall() if row[0] != self.name]
            for owner in owners:
                lock = (_LOCK_SPACE, owner)
                row = connection.execute("select pg_try_advisory_lock(%s, hashtext(%s))", lock).fetchone()
                if row is not None and row[0]:
                    try:
                        continue_jobs([owner])
                    finally:
                        connection.execute("select pg_advisory_unlock(%s, hashtext(%s))", lock)

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()
