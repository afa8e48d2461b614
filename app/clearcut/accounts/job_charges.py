"""The credits of jobs. A job may outlive the process, so its charge is kept in the database alone."""

from __future__ import annotations

from collections.abc import Callable

from .async_ledger import AsyncLedger
from .types import Charge


class JobCharges:
    """Reserves, extends and settles the credits of jobs.

    Args:
        observe: called with ``charged`` or ``released`` for each settled job.
    """

    def __init__(self, ledger: AsyncLedger, observe: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._observe = observe

    async def reserve(self, charge: Charge, lease_s: float) -> None:
        """Reserve a job's credits; see ``Ledger.reserve_for_job``."""
        await self._ledger.call(lambda ledger: ledger.reserve_for_job(charge, lease_s))

    async def extend(self, charge: Charge, lease_s: float) -> None:
        """Extend a job's reservation, if it is not closed. Raises Unavailable."""
        await self._ledger.call(lambda ledger: ledger.extend(charge, lease_s))

    async def settle(self, charge: Charge, succeeded: bool) -> None:
        """Charge a job that succeeded, or return the credits of a job that failed. Repeated calls have no effect.

        Raises:
            Unavailable: the database cannot be reached.
        """
        if succeeded:
            if await self._ledger.call(lambda ledger: ledger.settle(charge)):
                self._observe("charged")
        else:
            await self._ledger.call(lambda ledger: ledger.release(charge))
            self._observe("released")
