"""The DBOS workflows: a job in five recorded steps, and the delivery of its webhook.

After a crash a workflow continues after its last recorded step. The webhook has its own workflow, so that an
unreachable receiver does not occupy a job slot. Workflows run on DBOS's event loop; the work of their steps runs on
the service's event loop.

The names of the steps are stored and compared when a workflow continues; they must not change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

from clearcut.errors import Unavailable

from .dbos_rows import (
    DELIVERY_STEP,
    WEBHOOK_QUEUE,
    WEBHOOK_WORKFLOW,
    WORKFLOW_VERSION,
    dbos_user,
    webhook_workflow_id,
)
from .types import JobSpec, Outcome, outcome_from_json, spec_from_json

log = logging.getLogger("clearcut")

STEP_RETRY_DELAYS = (1.0, 4.0, 15.0, 60.0)
"""Seconds before a step is retried after an unexpected exception."""

StepResult = dict[str, Any]
"""The recorded result of a step. A result with ``ok`` is the outcome of the job."""


class Steps(Protocol):
    """The work of the steps, on the service's event loop. After a crash a step may run twice."""

    async def reserve(self, job_id: str, spec: JobSpec) -> StepResult: ...

    async def fetch(self, job_id: str, spec: JobSpec) -> StepResult: ...

    async def process(self, job_id: str, spec: JobSpec, starts: int) -> StepResult: ...

    async def finish(self, job_id: str, spec: JobSpec, outcome: Outcome) -> None: ...

    async def webhook_body(self, job_id: str, spec: JobSpec, outcome: Outcome) -> StepResult: ...

    async def deliver(
        self, job_id: str, spec: JobSpec, outcome: Outcome, body: StepResult, attempt: int
    ) -> StepResult: ...

    def webhook_delays(self) -> Iterable[float]: ...

    def cancel_idle(self) -> None: ...


class Workflows:
    """Created and drained on the service's event loop.

    Args:
        steps: the work of the steps.
        count_starts: returns how often a job was started so far; raises Unavailable.
    """

    def __init__(self, steps: Steps, count_starts: Callable[[str], Awaitable[int]]) -> None:
        self._steps = steps
        self._count_starts = count_starts
        self._service_loop = asyncio.get_running_loop()
        self._draining = False
        self._drain_started = asyncio.Event()
        self.running = 0
        """Number of steps in progress."""

    async def drain(self) -> None:
        """Start no further steps, and wait until all steps in progress are recorded."""
        if not self._draining:
            self._draining = True
            self._drain_started.set()
            logging.getLogger("dbos").setLevel(logging.ERROR)  # DBOS logs a warning for every postponed step
            self._steps.cancel_idle()
        while self.running:  # noqa: ASYNC110 - counted on the other event loop
            await asyncio.sleep(0.02)

    async def job(self, spec_json: Any) -> Any:
        """Process a job.

        Args:
            spec_json: the stored form of its ``JobSpec``.

        Returns:
            The stored form of its ``Outcome``.
        """
        from dbos import DBOS

        job_id, spec = str(DBOS.workflow_id), spec_from_json(spec_json)
        result = await self._step("hold", self._steps.reserve, job_id, spec)
        if "ok" not in result:
            result = await self._step("fetch", self._steps.fetch, job_id, spec)
        if "ok" not in result:
            result = await self._step("process", self._process, job_id, spec)
        outcome = outcome_from_json(result)
        await self._step("close", self._steps.finish, job_id, spec, outcome)
        if spec.webhook is not None:
            options: Any = {
                "workflow_name": WEBHOOK_WORKFLOW, "queue_name": WEBHOOK_QUEUE,
                "workflow_id": webhook_workflow_id(job_id), "app_version": WORKFLOW_VERSION,
                "authenticated_user": dbos_user(spec.account, spec.dialect),
            }  # fmt: skip
            await DBOS.enqueue_workflow_with_options_async(options, job_id, spec_json, result)
        return result

    async def _process(self, job_id: str, spec: JobSpec) -> StepResult:
        """Process the image. The number of starts limits the retries of a job that ends the process."""
        starts = 0
        with suppress(Unavailable):  # this start is not counted then
            starts = await self._count_starts(job_id)
        return await self._steps.process(job_id, spec, starts)

    async def webhook(self, job_id: str, spec_json: Any, outcome_json: Any) -> Any:
        """Deliver the webhook of a job.

        Returns:
            The log of all attempts. The last one decides whether the webhook was delivered.
        """
        from dbos import DBOS

        spec, outcome = spec_from_json(spec_json), outcome_from_json(outcome_json)
        body = await self._step("compose", self._steps.webhook_body, job_id, spec, outcome)
        attempts: list[StepResult] = []
        for delay in (*self._steps.webhook_delays(), None):
            deliver = self._steps.deliver
            attempt = await self._step(DELIVERY_STEP, deliver, job_id, spec, outcome, body, len(attempts))
            attempts.append(attempt)
            if attempt["done"] or delay is None:
                break
            await DBOS.sleep_async(delay)
        return attempts

    async def _step(self, name: str, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Run one recorded step. While the process shuts down, wait until the workflow is cancelled instead."""
        from dbos import DBOS

        if self._draining:
            await asyncio.Event().wait()  # the workflow stays unfinished, for the next process
            raise AssertionError

        async def run_with_retry() -> Any:
            # An unexpected exception must not end the workflow: its credits and its webhook would be lost.
            for delay in STEP_RETRY_DELAYS:
                try:
                    return await work(*arguments)
                except Exception:
                    log.exception("step failed", extra={"fields": {"step": name, "job": arguments[0]}})
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._drain_started.wait()
                    raise asyncio.CancelledError
            return await work(*arguments)

        async def run_on_service_loop() -> Any:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run_with_retry(), self._service_loop))

        self.running += 1
        try:
            return await DBOS.run_step_async({"name": name}, run_on_service_loop)
        finally:
            self.running -= 1
