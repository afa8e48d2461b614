"""The durable queue: DBOS Transact's workflows and queues, and the only place that knows it.

A job is a workflow of five steps, each recorded once it is done; after a crash the workflow goes on behind the last
one. Its webhook is a workflow of its own, so that a receiver that is away holds no place among the jobs. The workflows
run on DBOS's event loop, a thread beside the service's: its database calls and its shutdown do not touch ours.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from app.errors import StartupError, Unavailable
from app.jobs.nodes import Nodes
from app.jobs.order import Hook, JobView, Order, Outcome, State, order_json, read_order, read_outcome

if TYPE_CHECKING:
    from dbos import WorkflowStatus

log = logging.getLogger("clearcut")
T = TypeVar("T")

JOBS, HOOKS = "jobs", "hooks"
HOOK_SUFFIX = "-hook"
VERSION = "1"
"""Of the workflows' steps: a process goes on with workflows of its own version only."""
AT_ONCE = 16
"""Jobs begun and not done in one process. Most of them wait for their picture or for the lane."""
POLL_S = 0.2
ATTEMPTS = 20
"""Beginnings of one job, after which it is what kills the process."""
FAULT_PAUSES = (1.0, 4.0, 15.0, 60.0)
"""Before a step is tried again that failed in a way it does not know."""
_FOREVER = 1_000_000
_PATIENCE_S = 10.0
STATES: dict[str, State] = {"DELAYED": "queued", "ENQUEUED": "queued", "PENDING": "processing"}

Step = dict[str, Any]


class Steps(Protocol):
    """What the workflows do, on the service's event loop. All of it may happen twice, after a crash in between."""

    async def hold(self, job_id: str, order: Order) -> Step: ...

    async def fetch(self, job_id: str, order: Order) -> Step: ...

    async def process(self, job_id: str, order: Order, attempt: int) -> Step: ...

    async def close(self, job_id: str, order: Order, outcome: Outcome) -> None: ...

    async def compose(self, job_id: str, order: Order, outcome: Outcome) -> Step: ...

    async def deliver(self, job_id: str, order: Order, outcome: Outcome, payload: Step, attempt: int) -> Step: ...

    def delays(self) -> Sequence[float]: ...

    def leave(self) -> None: ...


def installed() -> bool:
    return importlib.util.find_spec("dbos") is not None


class Queue:
    """``start`` and ``stop`` on the service's event loop; the rest as well. One in a process, as DBOS has it."""

    def __init__(self, nodes: Nodes, steps: Steps) -> None:
        self._nodes = nodes
        self._steps = steps
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="jobs")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = 0
        self._closing = False
        self._left = asyncio.Event()
        self._launched = False

    async def start(self) -> None:
        """Raises StartupError: the database cannot be used."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._threads, self._launch)
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
                log.warning("stopped with job steps at work", extra={"fields": {"count": self._running}})
            self._launched = False
            await asyncio.get_running_loop().run_in_executor(self._threads, self._destroy)
        self._nodes.close()
        self._threads.shutdown(wait=False)

    async def rest(self) -> None:
        """Return once no step is at work and recorded; none begins from now on."""
        if not self._closing:
            self._closing = True
            self._left.set()
            logging.getLogger("dbos").setLevel(logging.ERROR)  # it warns of every step that is put off
            self._steps.leave()
        while self._running:  # noqa: ASYNC110 - counted on the other loop
            await asyncio.sleep(0.02)

    async def add(self, job_id: str, order: Order) -> None:
        """Enqueue durably; the same id twice is one job.

        Raises:
            Unavailable: the database cannot be asked.
        """
        data = order_json(order)

        def enqueue() -> None:
            from dbos import DBOS, EnqueueOptions

            options: EnqueueOptions = {
                "workflow_name": "job", "queue_name": JOBS, "workflow_id": job_id, "app_version": VERSION,
                "authenticated_user": _user(order.account, order.dialect),
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
            return view(found[job_id], found.get(job_id + HOOK_SUFFIX)) if job_id in found else None

        return await self._call(look)

    async def unfinished(self, account: str, dialect: str, most: int) -> int:
        """An account's jobs of a dialect that wait or are at work; counted to ``most``. Raises Unavailable."""

        def count() -> int:
            from dbos import DBOS

            found = DBOS.list_workflows(
                user=_user(account, dialect),
                name="job",
                status=["ENQUEUED", "PENDING"],
                limit=most,
                load_input=False,
                load_output=False,
            )
            return len(found)

        return await self._call(count)

    async def counts(self) -> tuple[int, int]:
        """(jobs that wait, jobs that are at work). Raises Unavailable."""
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
        return await self._call(lambda: _forget(before))

    async def _call(self, work: Callable[[], T]) -> T:
        if not self._launched:
            raise Unavailable("The jobs are not open")
        try:
            async with asyncio.timeout(_PATIENCE_S):
                future = asyncio.get_running_loop().run_in_executor(self._threads, work)
                return await asyncio.shield(future)
        except TimeoutError:
            log.error("the jobs' database is too slow")
        except Exception as exc:
            log.error("the jobs' database failed", extra={"fields": {"error": type(exc).__name__}})
        raise Unavailable("The jobs cannot be reached", retry_after=2) from None

    def _launch(self) -> None:
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
            return await self._run_job(order)

        @DBOS.workflow(name="hook", max_recovery_attempts=_FOREVER)
        async def hook(job_id: str, order: Any, outcome: Any) -> Any:
            return await self._run_hook(job_id, order, outcome)

        DBOS.launch()
        self._launched = True  # what an earlier life has left begins with the queues, and asks us
        for name, limit in ((JOBS, AT_ONCE), (HOOKS, None)):
            DBOS.register_queue(
                name, worker_concurrency=limit, polling_interval_sec=POLL_S, on_conflict="always_update"
            )

    def _destroy(self) -> None:
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True)

    # what follows runs on DBOS's event loop

    async def _run_job(self, data: Any) -> Any:
        from dbos import DBOS

        job_id, order = str(DBOS.workflow_id), read_order(data)
        found = await self._step("hold", self._steps.hold, job_id, order)
        if "ok" not in found:
            found = await self._step("fetch", self._steps.fetch, job_id, order)
        if "ok" not in found:
            found = await self._step("process", self._process, job_id, order)
        outcome = read_outcome(found)
        await self._step("close", self._steps.close, job_id, order, outcome)
        if order.webhook is not None:
            options: Any = {
                "workflow_name": "hook", "queue_name": HOOKS, "workflow_id": job_id + HOOK_SUFFIX,
                "app_version": VERSION, "authenticated_user": _user(order.account, order.dialect),
            }  # fmt: skip
            await DBOS.enqueue_workflow_with_options_async(options, job_id, data, found)
        return found

    async def _process(self, job_id: str, order: Order) -> Step:
        """On the service's loop: what no process survived so far is not begun for ever."""

        def begun() -> int:
            from dbos import DBOS

            found = DBOS.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
            return (found[0].recovery_attempts or 0) if found else 0

        attempt = 0
        with suppress(Unavailable):  # then it is not counted this time
            attempt = await self._call(begun)
        return await self._steps.process(job_id, order, attempt)

    async def _run_hook(self, job_id: str, data: Any, found: Any) -> Any:
        """The log of the attempts, the last one being what came of it."""
        from dbos import DBOS

        order, outcome = read_order(data), read_outcome(found)
        payload = await self._step("compose", self._steps.compose, job_id, order, outcome)
        attempts: list[Step] = []
        for delay in (*self._steps.delays(), None):
            attempt = await self._step("deliver", self._steps.deliver, job_id, order, outcome, payload, len(attempts))
            attempts.append(attempt)
            if attempt["done"] or delay is None:
                break
            await DBOS.sleep_async(delay)
        return attempts

    async def _step(self, name: str, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """One recorded step, its work being done on the service's loop; none begins once the process is leaving."""
        from dbos import DBOS

        loop = self._loop
        if loop is None or self._closing:
            await asyncio.Event().wait()  # until the shutdown cancels us: the workflow stays as it is, for the next one
            raise AssertionError

        async def there() -> Any:
            # A fault that the step does not know must not end the workflow at once: a webhook and credits hang on it.
            for pause in FAULT_PAUSES:
                try:
                    return await work(*arguments)
                except Exception:
                    log.exception("a step failed", extra={"fields": {"step": name, "job": arguments[0]}})
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._left.wait()
                    raise asyncio.CancelledError
            return await work(*arguments)

        async def hop() -> Any:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), loop))

        self._running += 1
        try:
            return await DBOS.run_step_async({"name": name}, hop)
        finally:
            self._running -= 1


def _user(account: str | None, dialect: str) -> str:
    """What a dialect's own limits are counted by."""
    return f"{account}/{dialect}" if account is not None else ""


def view(job: WorkflowStatus, hook: WorkflowStatus | None) -> JobView:
    """A job as the queue's rows have it."""
    order = read_order(job.input["args"][0] if job.input is not None else {})
    state: State = STATES.get(job.status, "failed")
    outcome: Outcome | None = None
    if job.status == "SUCCESS":
        outcome = read_outcome(job.output)
        state = "completed" if outcome.ok else "failed"
    elif state == "failed":
        outcome = Outcome(False, (job.updated_at or 0) / 1000, status=500, reason="internal", message="Internal error")
    return JobView(job.workflow_id, order, state, outcome, _hook(order, hook))


def _hook(order: Order, hook: WorkflowStatus | None) -> Hook | None:
    if order.webhook is None:
        return None
    if hook is None or hook.status in STATES:
        return "pending"
    return "sent" if hook.status == "SUCCESS" and hook.output and hook.output[-1]["done"] else "failed"


def _forget(before: float) -> int:
    import datetime

    from dbos import DBOS

    until = datetime.datetime.fromtimestamp(before, datetime.UTC).isoformat()
    dropped = 0
    while True:
        old = DBOS.list_workflows(completed_before=until, limit=500, load_input=False, load_output=False)
        if not old:
            return dropped
        DBOS.delete_workflows([each.workflow_id for each in old])
        dropped += len(old)


def _log_as_we_do() -> None:
    """DBOS writes to the console unless its logger has a handler already."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
