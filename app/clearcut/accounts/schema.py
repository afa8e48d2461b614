"""The two database tables of the accounts, and their SQLAlchemy engine: a SQLite file or PostgreSQL."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from clearcut.errors import StartupError, missing_extra

metadata = MetaData()

keys = Table(
    "keys", metadata,
    Column("id", String(12), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("plan", String(16), nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("period", String(7), nullable=False),
    Column("requests_per_minute", Integer),
    Column("concurrent", Integer),
    Column("megapixels_per_minute", Integer),
)  # fmt: skip
"""API keys. ``used`` counts the credits of ``period``: a month such as 2026-11 for monthly plans, otherwise empty.

Times are Unix seconds.
"""

charges = Table(
    "charges", metadata,
    Column("id", String(32), primary_key=True),
    Column("key_id", String(12), ForeignKey("keys.id"), nullable=False),
    Column("cost", Integer, nullable=False),
    Column("state", String(8), nullable=False),
    Column("period", String(7), nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("closed_at", Double),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64)),
    Column("content_digest", String(64)),
    UniqueConstraint("key_id", "idempotency_key"),
    Index("charges_of_key", "key_id", "state"),
)  # fmt: skip
"""Charges. ``state`` is reserved, then charged or released. A reservation past ``expires_at`` is not counted.

``closed_at`` is null while reserved, and while a charge can be refunded because no byte of the response was sent.
``content_digest`` is the SHA-256 digest of the files fetched for a request with an Idempotency-Key; null without files.
"""


def open_engine(url: str, threads: int) -> Engine:
    """Open the database and create or migrate its tables.

    Args:
        url: ``CLEARCUT_DATABASE_URL``.
        threads: number of threads that use the engine at once.

    Raises:
        StartupError: the URL is not supported, its driver is not installed, or the database cannot be used.
    """
    engine = _engine(url, threads)
    try:
        try:
            _migrate(engine)
        except DBAPIError:
            _migrate(engine)  # another process migrated it at the same moment
    except DBAPIError as exc:
        engine.dispose()
        raise _unusable(exc) from None
    return engine


def _migrate(engine: Engine) -> None:
    """Create missing tables, and add the columns that earlier versions did not have."""
    metadata.create_all(engine)
    present = {column["name"] for column in inspect(engine).get_columns(charges.name)}
    if "content_digest" not in present:
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE charges ADD COLUMN content_digest VARCHAR(64)")


def check_database(url: str) -> str:
    """Check that the database can be used, without changing it.

    Returns:
        A description of the database without its password.

    Raises:
        StartupError: as ``open_engine``; or the database file or its folder is not writable.
    """
    if url.startswith("sqlite"):
        return _check_file(_parsed(url).database)
    engine = _engine(url, 1)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except DBAPIError as exc:
        raise _unusable(exc) from None
    finally:
        engine.dispose()
    return f"{engine.url.get_backend_name()} at {engine.url.host or 'a local socket'}, {engine.url.database}"


def _check_file(path: str | None) -> str:
    if not path or path == ":memory:":
        return "memory (lost when the process ends)"
    target = path if os.path.exists(path) else os.path.dirname(os.path.abspath(path))
    # SQLite writes its log and its lock in the same folder.
    if not (os.access(target, os.W_OK) and os.access(os.path.dirname(os.path.abspath(path)), os.W_OK | os.X_OK)):
        raise StartupError(f"CLEARCUT_DATABASE_URL: {path} or its folder cannot be written to")
    return f"{path}" + ("" if os.path.exists(path) else " (created at the first start)")


def _unusable(exc: DBAPIError) -> StartupError:
    return StartupError(f"CLEARCUT_DATABASE_URL: the database cannot be used: {exc.orig}")


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise StartupError("CLEARCUT_DATABASE_URL: expected a URL such as sqlite:///clearcut.db") from None


def _engine(url: str, threads: int) -> Engine:
    parsed = _parsed(url)
    try:
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            _create_private_file(parsed.database)
            engine = create_engine(parsed, pool_size=threads)
            _prepare_sqlite(engine)
        elif backend == "postgresql":
            engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=threads,
                pool_pre_ping=True,
                connect_args={"connect_timeout": 5, "options": "-c statement_timeout=5000"},
            )
        else:
            raise StartupError("CLEARCUT_DATABASE_URL: only sqlite and postgresql are supported")
    except (ArgumentError, NoSuchModuleError):
        raise StartupError("CLEARCUT_DATABASE_URL: expected a URL such as sqlite:///clearcut.db") from None
    except ModuleNotFoundError:
        raise StartupError(f"CLEARCUT_DATABASE_URL: {missing_extra('postgres')}") from None
    return engine


def _create_private_file(path: str | None) -> None:
    """Create the file if it does not exist, readable only by its owner: it holds names, credits and digests of keys."""
    if path and path != ":memory:":
        with suppress(OSError):  # the database reports a missing folder
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver does not begin transactions; the handler below does
        # With FULL, a charge is on the disk before its response is sent, and survives a power failure.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # a transaction that reads first and writes later could fail
