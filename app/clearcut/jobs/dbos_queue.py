"""The durable queue on DBOS Transact: starts and stops DBOS, adds jobs and reads their state.

``workflows`` defines the work of a job. DBOS runs the workflows on its own event loop in another thread, so its
database calls and its shutdown do not block the service.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from clearcut.errors import StartupError, Unavailable

from .dbos_rows import (
    EARLIER_JOB_QUEUE,
    JOB_QUEUE,
    JOB_WORKFLOW,
    WEBHOOK_QUEUE,
    WEBHOOK_WORKFLOW,
    WORKFLOW_VERSION,
    dbos_user,
    delete_finished,
    job_view,
    webhook_workflow_id,
)
from .nodes import JobCounts, NodeRegistry
from .types import JobSpec, JobView, partition_of, spec_to_json
from .workflows import Steps, Workflows

log = logging.getLogger("clearcut")
T = TypeVar("T")

MAX_STARTED_JOBS, MAX_STARTED_JOBS_PER_ACCOUNT = 512, 8
"""Started and unfinished jobs of one process, and of one account in it.

Most of these jobs wait for their image or for their account's quota and hold no image in memory. The total is large so
that the jobs of a few accounts do not prevent the jobs of other accounts from starting.
"""
POLL_S = 0.2
"""Seconds between two polls of the queue."""
_DATABASE_TIMEOUT_S = 10.0
_UNLIMITED_RECOVERIES = 1_000_000


def dbos_installed() -> bool:
    """Return whether the package ``dbos`` is installed."""
    return importlib.util.find_spec("dbos") is not None


class DbosQueue:
    """The queue of a process. Used from the service's event loop. DBOS allows one in a process."""

    def __init__(self, nodes: NodeRegistry, steps: Steps) -> None:
        self._nodes = nodes
        self._steps = steps
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="jobs")
        self._workflows: Workflows | None = None
        self._launched = False

    async def start(self) -> None:
        """Start DBOS, which continues unfinished jobs.

        Raises:
            StartupError: the database cannot be used.
        """
        self._workflows = Workflows(self._steps, self._count_starts)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._launch, self._workflows)
        except StartupError:
            raise
        except Exception as exc:
            raise StartupError(f"CLEARCUT_JOBS: the queue's database cannot be used: {exc}") from None

    async def stop(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for steps in progress, then stop DBOS. The next start continues unfinished jobs."""
        if self._launched:
            try:
                async with asyncio.timeout(timeout_s):
                    await self.drain()
            except TimeoutError:
                count = self._workflows.running if self._workflows is not None else 0
                log.warning("stopped with job steps in progress", extra={"fields": {"count": count}})
            self._launched = False
            await asyncio.get_running_loop().run_in_executor(self._threads, self._destroy)
        self._nodes.close()
        self._threads.shutdown(wait=False)

    async def drain(self) -> None:
        """Start no further steps, and wait until all steps in progress are recorded."""
        if self._workflows is not None:
            await self._workflows.drain()

    async def enqueue(self, job_id: str, spec: JobSpec) -> None:
        """Add a job durably. A second call with the same id has no effect.

        Raises:
            Unavailable: the database cannot be reached.
        """
        spec_json = spec_to_json(spec)

        def enqueue() -> None:
            from dbos import DBOS, EnqueueOptions

            options: EnqueueOptions = {
                "workflow_name": JOB_WORKFLOW, "queue_name": JOB_QUEUE, "workflow_id": job_id,
                "app_version": WORKFLOW_VERSION, "authenticated_user": dbos_user(spec.account, spec.dialect),
                "queue_partition_key": partition_of(job_id, spec),
            }  # fmt: skip
            DBOS.enqueue_workflow_with_options(options, spec_json)

        await self._call(enqueue)

    async def find(self, job_id: str) -> JobView | None:
        """Return a job, or None. Raises Unavailable."""
        webhook_id = webhook_workflow_id(job_id)

        def find() -> JobView | None:
            from dbos import DBOS

            rows = {row.workflow_id: row for row in DBOS.list_workflows(workflow_ids=[job_id, webhook_id])}
            return job_view(rows[job_id], rows.get(webhook_id)) if job_id in rows else None

        return await self._call(find)

    async def count_unfinished(self, account: str, dialect: str, limit: int) -> int:
        """Return the number of an account's unfinished jobs of an API, at most ``limit``. Raises Unavailable."""

        def count() -> int:
            from dbos import DBOS

            unfinished = DBOS.list_workflows(
                user=dbos_user(account, dialect),
                name=JOB_WORKFLOW,
                status=["ENQUEUED", "PENDING"],
                limit=limit,
                load_input=False,
                load_output=False,
            )
            return len(unfinished)

        return await self._call(count)

    async def counts(self) -> JobCounts:
        """Return the numbers of unfinished jobs on all nodes. Raises Unavailable."""
        return await self._call(self._nodes.counts)

    async def recover(self) -> None:
        """Continue the jobs of processes that have ended. Raises Unavailable."""

        def continue_jobs(nodes: Sequence[str]) -> None:
            from dbos import DBOS

            log.warning("continuing jobs of a process that has ended", extra={"fields": {"nodes": list(nodes)}})
            DBOS._recover_pending_workflows(list(nodes))

        await self._call(lambda: self._nodes.recover(continue_jobs))

    async def delete_finished(self, before: float) -> int:
        """Delete the jobs that finished before a Unix time. Returns their number. Raises Unavailable."""
        return await self._call(lambda: delete_finished(before))

    async def _count_starts(self, job_id: str) -> int:
        """Return how often a job was started. Raises Unavailable."""

        def count() -> int:
            from dbos import DBOS

            rows = DBOS.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
            return (rows[0].recovery_attempts or 0) if rows else 0

        return await self._call(count)

    async def _call(self, work: Callable[[], T]) -> T:
        """Call the database on a thread.

        Raises:
            Unavailable: DBOS is not running, or the database cannot be reached.
        """
        if not self._launched:
            raise Unavailable("Jobs are not available")
        try:
            async with asyncio.timeout(_DATABASE_TIMEOUT_S):
                future = asyncio.get_running_loop().run_in_executor(self._threads, work)
                return await asyncio.shield(future)
        except TimeoutError:
            log.error("job database timed out")
        except Exception as exc:
            log.error("job database failed", extra={"fields": {"error": type(exc).__name__}})
        raise Unavailable("The job database cannot be reached", retry_after=2) from None

    def _launch(self, workflows: Workflows) -> None:
        """Start DBOS and register the workflows and queues. Blocks."""
        from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

        _disable_console_log()
        config: DBOSConfig = {
            "name": "clearcut",
            "system_database_url": self._nodes.url,
            "application_version": WORKFLOW_VERSION,
            "executor_id": self._nodes.name,
            "enable_otlp": False,
            "log_level": "WARNING",
            "serializer": DBOSPortableJSONSerializer(),  # no pickles: others may write to the database
            "max_executor_threads": 8,
            "sys_db_pool_size": 8,
            "scheduler_polling_interval_sec": 3600.0,
        }
        DBOS(config=config)

        @DBOS.workflow(name=JOB_WORKFLOW, max_recovery_attempts=_UNLIMITED_RECOVERIES)
        async def job(spec_json: Any) -> Any:
            return await workflows.job(spec_json)

        @DBOS.workflow(name=WEBHOOK_WORKFLOW, max_recovery_attempts=_UNLIMITED_RECOVERIES)
        async def webhook(job_id: str, spec_json: Any, outcome_json: Any) -> Any:
            return await workflows.webhook(job_id, spec_json, outcome_json)

        DBOS.launch()
        self._launched = True  # before the queues start: their first jobs call this object
        queues = (
            (JOB_QUEUE, MAX_STARTED_JOBS, MAX_STARTED_JOBS_PER_ACCOUNT),
            (EARLIER_JOB_QUEUE, MAX_STARTED_JOBS, None),
            (WEBHOOK_QUEUE, None, None),
        )
        for name, concurrency, partition_concurrency in queues:
            DBOS.register_queue(
                name,
                worker_concurrency=concurrency,
                partition_worker_concurrency=partition_concurrency,
                polling_interval_sec=POLL_S,
                on_conflict="always_update",
            )

    def _destroy(self) -> None:
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True)


def _disable_console_log() -> None:
    """Give the DBOS logger a handler. Without one, DBOS writes to the console."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
