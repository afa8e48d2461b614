"""The durable queue, on DBOS Transact: begun, ended, and asked.

What it does with a job is in ``workflows``. DBOS runs them on an event loop of its own, a thread beside the service's:
its database calls and its shutdown do not touch ours.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from clearcut.errors import StartupError, Unavailable

from .dbos_rows import EARLIER_JOBS, HOOK_SUFFIX, HOOKS, JOBS, VERSION, dbos_user, delete_finished, job_view
from .models import JobSpec, JobView, partition_of, spec_to_json
from .nodes import JobCounts, NodeRegistry
from .workflows import Steps, Workflows

log = logging.getLogger("clearcut")
T = TypeVar("T")

AT_ONCE, ACCOUNT_AT_ONCE = 512, 8
"""Jobs begun and not done: of one process, and of one account in it.

Most wait, for their image or for their account's quota of megapixels, and hold no image in memory. The total is large
so that the waiting jobs of a few accounts do not keep those of others from beginning.
"""
POLL_S = 0.2
_FOREVER = 1_000_000
_PATIENCE_S = 10.0


def dbos_installed() -> bool:
    return importlib.util.find_spec("dbos") is not None


class DbosQueue:
    """``start`` and ``stop`` on the service's event loop; the rest as well. One in a process, as DBOS has it."""

    def __init__(self, nodes: NodeRegistry, steps: Steps) -> None:
        self._nodes = nodes
        self._steps = steps
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="jobs")
        self._flows: Workflows | None = None
        self._launched = False

    async def start(self) -> None:
        """Raises StartupError: the database cannot be used."""
        self._flows = Workflows(self._steps, self._begun)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._launch, self._flows)
        except StartupError:
            raise
        except Exception as exc:
            raise StartupError(f"CLEARCUT_JOBS: the queue's database cannot be used: {exc}") from None

    async def stop(self, patience_s: float) -> None:
        """Let the steps that are at work end, then go; what is accepted goes on after the next start, or elsewhere."""
        if self._launched:
            try:
                async with asyncio.timeout(patience_s):
                    await self.rest()
            except TimeoutError:
                count = self._flows.running if self._flows is not None else 0
                log.warning("stopped with job steps at work", extra={"fields": {"count": count}})
            self._launched = False
            await asyncio.get_running_loop().run_in_executor(self._threads, self._destroy)
        self._nodes.close()
        self._threads.shutdown(wait=False)

    async def rest(self) -> None:
        """Return once no step is at work and recorded; none begins from now on."""
        if self._flows is not None:
            await self._flows.rest()

    async def add(self, job_id: str, order: JobSpec) -> None:
        """Enqueue durably; the same id twice is one job.

        Raises:
            Unavailable: the database cannot be asked.
        """
        data = spec_to_json(order)

        def enqueue() -> None:
            from dbos import DBOS, EnqueueOptions

            options: EnqueueOptions = {
                "workflow_name": "job", "queue_name": JOBS, "workflow_id": job_id, "app_version": VERSION,
                "authenticated_user": dbos_user(order.account, order.dialect),
                "queue_partition_key": partition_of(job_id, order),
            }  # fmt: skip
            DBOS.enqueue_workflow_with_options(options, data)

        await self._call(enqueue)

    async def find(self, job_id: str) -> JobView | None:
        """Raises Unavailable."""

        def look() -> JobView | None:
            from dbos import DBOS

            found = {
                each.workflow_id: each for each in DBOS.list_workflows(workflow_ids=[job_id, job_id + HOOK_SUFFIX])
            }
            return job_view(found[job_id], found.get(job_id + HOOK_SUFFIX)) if job_id in found else None

        return await self._call(look)

    async def unfinished(self, account: str, dialect: str, most: int) -> int:
        """An account's jobs of a dialect that wait or are at work; counted to ``most``. Raises Unavailable."""

        def count() -> int:
            from dbos import DBOS

            found = DBOS.list_workflows(
                user=dbos_user(account, dialect),
                name="job",
                status=["ENQUEUED", "PENDING"],
                limit=most,
                load_input=False,
                load_output=False,
            )
            return len(found)

        return await self._call(count)

    async def counts(self) -> JobCounts:
        """Raises Unavailable."""
        return await self._call(self._nodes.counts)

    async def recover(self) -> None:
        """Take over what processes that are gone have left. Raises Unavailable."""

        def take(names: Sequence[str]) -> None:
            from dbos import DBOS

            log.warning("taking over the jobs of a process that is gone", extra={"fields": {"nodes": list(names)}})
            DBOS._recover_pending_workflows(list(names))

        await self._call(lambda: self._nodes.recover(take))

    async def forget(self, before: float) -> int:
        """Drop what was finished before then (Unix seconds); how many. Raises Unavailable."""
        return await self._call(lambda: delete_finished(before))

    async def _begun(self, job_id: str) -> int:
        """How often a job was begun. Raises Unavailable."""

        def look() -> int:
            from dbos import DBOS

            found = DBOS.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
            return (found[0].recovery_attempts or 0) if found else 0

        return await self._call(look)

    async def _call(self, work: Callable[[], T]) -> T:
        if not self._launched:
            raise Unavailable("The jobs are not available")
        try:
            async with asyncio.timeout(_PATIENCE_S):
                future = asyncio.get_running_loop().run_in_executor(self._threads, work)
                return await asyncio.shield(future)
        except TimeoutError:
            log.error("the jobs' database is too slow")
        except Exception as exc:
            log.error("the jobs' database failed", extra={"fields": {"error": type(exc).__name__}})
        raise Unavailable("The jobs' database cannot be reached", retry_after=2) from None

    def _launch(self, flows: Workflows) -> None:
        from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

        _log_as_we_do()
        config: DBOSConfig = {
            "name": "clearcut",
            "system_database_url": self._nodes.url,
            "application_version": VERSION,
            "executor_id": self._nodes.name,
            "enable_otlp": False,
            "log_level": "WARNING",
            "serializer": DBOSPortableJSONSerializer(),  # no pickles out of a database that others may reach
            "max_executor_threads": 8,
            "sys_db_pool_size": 8,
            "scheduler_polling_interval_sec": 3600.0,
        }
        DBOS(config=config)

        @DBOS.workflow(name="job", max_recovery_attempts=_FOREVER)
        async def job(order: Any) -> Any:
            return await flows.job(order)

        @DBOS.workflow(name="hook", max_recovery_attempts=_FOREVER)
        async def hook(job_id: str, order: Any, outcome: Any) -> Any:
            return await flows.hook(job_id, order, outcome)

        DBOS.launch()
        self._launched = True  # what an earlier life has left begins with the queues, and asks us
        for name, total, each in ((JOBS, AT_ONCE, ACCOUNT_AT_ONCE), (EARLIER_JOBS, AT_ONCE, None), (HOOKS, None, None)):
            DBOS.register_queue(
                name,
                worker_concurrency=total,
                partition_worker_concurrency=each,
                polling_interval_sec=POLL_S,
                on_conflict="always_update",
            )

    def _destroy(self) -> None:
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True)


def _log_as_we_do() -> None:
    """DBOS writes to the console unless its logger has a handler already."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
