"""Calls of the ledger from the event loop: its database threads, timeouts and errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from clearcut.errors import Unavailable

if TYPE_CHECKING:
    from .ledger import Ledger

log = logging.getLogger("clearcut")
T = TypeVar("T")

_DATABASE_TIMEOUT_S = 10
"""Seconds, including the time that a call waits for a thread."""
_CLEANUP_INTERVAL_S = 3600


class AsyncLedger:
    """The ledger, called on its own threads.

    Args:
        url: SQLAlchemy URL of the database.
        lease_s: seconds until a request's reservation expires if it is not extended.
    """

    def __init__(self, url: str, lease_s: float) -> None:
        self.lease_s = lease_s
        self._url = url
        self._threads = _database_threads(url)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ledger")
        self._ledger: Ledger | None = None
        self._cleanup: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the database. From now on expired charges are deleted every hour.

        Raises:
            StartupError: the database cannot be used as configured.
        """
        from .ledger import Ledger  # loads SQLAlchemy, which a service without accounts does not need
        from .schema import open_engine

        engine = await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: open_engine(self._url, self._threads)
        )
        self._ledger = Ledger(engine, self.lease_s)
        self._cleanup = asyncio.create_task(self._delete_expired())

    async def close(self) -> None:
        """Close the database if it is open, and end the threads."""
        if self._cleanup is not None:
            self._cleanup.cancel()
        if self._ledger is not None:
            await self.call(lambda ledger: ledger.close())
            self._ledger = None
        self._pool.shutdown(wait=False)

    async def call(self, work: Callable[[Ledger], T]) -> T:
        """Call ``work`` with the ledger on one of its threads. The call finishes even if the caller is cancelled.

        If the caller of a reservation is cancelled, the reservation can exist until it expires.

        Raises:
            Unavailable: the database is not open, cannot be reached, or is too slow.
        """
        from sqlalchemy.exc import SQLAlchemyError

        ledger = self._ledger
        if ledger is None:
            raise Unavailable("Accounts are not available")
        try:
            async with asyncio.timeout(_DATABASE_TIMEOUT_S):
                loop = asyncio.get_running_loop()
                return await asyncio.shield(loop.run_in_executor(self._pool, work, ledger))
        except TimeoutError:
            log.error("account database timed out")
            raise Unavailable("The account database cannot be reached", retry_after=2) from None
        except SQLAlchemyError as exc:
            log.error("account database failed", extra={"fields": {"error": type(exc).__name__}})
            raise Unavailable("The account database cannot be reached", retry_after=2) from None

    async def _delete_expired(self) -> None:
        """Delete old charges at start and every hour."""
        while True:
            with suppress(Unavailable):
                await self.call(lambda ledger: ledger.delete_expired())
            await asyncio.sleep(_CLEANUP_INTERVAL_S)


def _database_threads(url: str) -> int:
    """Return the number of database threads. SQLite has one writer at a time, so more threads would only wait."""
    return 1 if url.startswith("sqlite") else 4
