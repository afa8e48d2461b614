"""Which processes are alive, and how much waits: what the queue's database is asked beside the queue.

On SQLite one process may use the folder, held by a lock on a file. On PostgreSQL every process holds an advisory lock
in its own name for as long as its connection lives: whoever gets a name's lock knows that its owner is gone.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clearcut.errors import StartupError
from clearcut.settings import Settings
from clearcut.storage.factory import data_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

FILE = "jobs.db"
_LOCK_SPACE = 0x636C63  # 'clc': ours among the advisory locks of a database
_COUNT = (
    "select status, queue_partition_key, count(*) from {table} "
    "where name = 'job' and status in ('ENQUEUED', 'PENDING') group by status, queue_partition_key"
)
_OWNERS = "select distinct executor_id from dbos.workflow_status where status = 'PENDING' and executor_id is not null"


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Jobs on all nodes together."""

    waiting: int
    at_work: int
    by_partition: Mapping[str, int]
    """Waiting jobs, by partition of the queue."""


def _counts(rows: Iterable[Sequence[Any]]) -> JobCounts:
    waiting = at_work = 0
    partitions: Counter[str] = Counter()
    for status, partition, count in rows:
        if status == "PENDING":
            at_work += count
        else:
            waiting += count
            partitions[partition or ""] += count
    return JobCounts(waiting, at_work, partitions)


class NodeRegistry(Protocol):
    """Its methods block: they are for a thread."""

    name: str
    """Of this process, in the queue."""
    url: str
    """Of the queue's database, as SQLAlchemy has it."""

    def counts(self) -> JobCounts: ...

    def recover(self, take: Callable[[Sequence[str]], object]) -> None:
        """Call ``take`` with the names of those that are gone and have left work behind."""

    def close(self) -> None: ...


def queue_url(settings: Settings) -> str:
    """Of the queue's database, as SQLAlchemy has it.

    Raises:
        StartupError: it is not set, or the data folder cannot be used.
    """
    if settings.jobs == "sqlite":
        return f"sqlite:///{data_folder(settings) / FILE}"
    return "postgresql+psycopg://" + postgres_url(settings).partition("://")[2]


def postgres_url(settings: Settings) -> str:
    """Of the PostgreSQL that keeps the jobs.

    Raises:
        StartupError: none is set.
    """
    url = settings.jobs_url or settings.database_url
    if not url.startswith(("postgresql://", "postgres://", "postgresql+")):
        raise StartupError("CLEARCUT_JOBS=postgresql: set CLEARCUT_JOBS_URL=postgresql://…, or CLEARCUT_DATABASE_URL")
    return "postgresql://" + url.partition("://")[2]


class SingleNode:
    """A file in ``folder``, and this process alone.

    Raises:
        StartupError: another process has it.
    """

    name = "local"

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / FILE}"
        self._path = folder / FILE
        self._lock = os.open(folder / "jobs.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StartupError(
                f"CLEARCUT_DATA_DIR={folder}: another process does the jobs there. One process a folder, or "
                "CLEARCUT_JOBS=postgresql for several nodes"
            ) from None
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # for its owner only
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # stays with the file; every commit still reaches the disk

    def counts(self) -> JobCounts:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return _counts(connection.execute(_COUNT.format(table="workflow_status")).fetchall())

    def recover(self, take: Callable[[Sequence[str]], object]) -> None:
        """The queue itself does it at launch: there is nobody else."""

    def close(self) -> None:
        os.close(self._lock)


class MultiNode:
    """A PostgreSQL database that several processes share. It must be reached directly or through a pooler in session
    mode, since the locks are the session's.

    Raises:
        StartupError: the database cannot be reached, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ModuleNotFoundError:
            raise StartupError("CLEARCUT_JOBS=postgresql: install the 'jobs' extra") from None
        self._driver = psycopg
        self.name = "node-" + secrets.token_hex(8)
        self._plain = "postgresql://" + url.partition("://")[2]
        self.url = url
        try:
            self._connection = self._connect()
        except psycopg.Error as exc:
            raise StartupError(f"CLEARCUT_JOBS=postgresql: the database cannot be used: {exc}") from None

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._driver.connect(self._plain, autocommit=True, connect_timeout=5)
        connection.execute("select pg_advisory_lock(%s, hashtext(%s))", (_LOCK_SPACE, self.name))
        return connection

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection; a broken one is replaced, and the lock with it."""
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

    def recover(self, take: Callable[[Sequence[str]], object]) -> None:
        with self._session() as connection:
            owners = [row[0] for row in connection.execute(_OWNERS).fetchall() if row[0] != self.name]
            for owner in owners:
                lock = (_LOCK_SPACE, owner)
                got = connection.execute("select pg_try_advisory_lock(%s, hashtext(%s))", lock).fetchone()
                if got is not None and got[0]:
                    try:
                        take([owner])
                    finally:
                        connection.execute("select pg_advisory_unlock(%s, hashtext(%s))", lock)

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()
