"""The workflows: a job in five steps, each recorded once it is done, and its webhook.

After a crash a workflow goes on behind its last recorded step. The webhook is a workflow of its own, so that a receiver
that is away holds no place among the jobs. They run on DBOS's event loop; the steps' work is done on the service's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from clearcut.errors import Unavailable

from .dbos_rows import HOOK_SUFFIX, HOOKS, VERSION, dbos_user
from .models import JobSpec, Outcome, outcome_from_json, spec_from_json

log = logging.getLogger("clearcut")

ATTEMPTS = 20
"""Beginnings of one job, after which it is what kills the process."""
FAULT_PAUSES = (1.0, 4.0, 15.0, 60.0)
"""Before a step is tried again that failed in a way it does not know."""

Step = dict[str, Any]


class Steps(Protocol):
    """What the workflows do, on the service's event loop. All of it may happen twice, after a crash in between."""

    async def hold(self, job_id: str, order: JobSpec) -> Step: ...

    async def fetch(self, job_id: str, order: JobSpec) -> Step: ...

    async def process(self, job_id: str, order: JobSpec, attempt: int) -> Step: ...

    async def close(self, job_id: str, order: JobSpec, outcome: Outcome) -> None: ...

    async def compose(self, job_id: str, order: JobSpec, outcome: Outcome) -> Step: ...

    async def deliver(self, job_id: str, order: JobSpec, outcome: Outcome, payload: Step, attempt: int) -> Step: ...

    def delays(self) -> Sequence[float]: ...

    def leave(self) -> None: ...


class Workflows:
    """Made and left on the service's event loop.

    Args:
        begun: how often a job was begun so far; raises Unavailable.
    """

    def __init__(self, steps: Steps, begun: Callable[[str], Awaitable[int]]) -> None:
        self._steps = steps
        self._begun = begun
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._left = asyncio.Event()
        self.running = 0
        """Steps that are at work."""

    async def rest(self) -> None:
        """Return once no step is at work and recorded; none begins from now on."""
        if not self._closing:
            self._closing = True
            self._left.set()
            logging.getLogger("dbos").setLevel(logging.ERROR)  # it warns of every step that is put off
            self._steps.leave()
        while self.running:  # noqa: ASYNC110 - counted on the other loop
            await asyncio.sleep(0.02)

    async def job(self, data: Any) -> Any:
        """A job, from its order to its outcome, both as the queue keeps them."""
        from dbos import DBOS

        job_id, order = str(DBOS.workflow_id), spec_from_json(data)
        found = await self._step("hold", self._steps.hold, job_id, order)
        if "ok" not in found:
            found = await self._step("fetch", self._steps.fetch, job_id, order)
        if "ok" not in found:
            found = await self._step("process", self._process, job_id, order)
        outcome = outcome_from_json(found)
        await self._step("close", self._steps.close, job_id, order, outcome)
        if order.webhook is not None:
            options: Any = {
                "workflow_name": "hook", "queue_name": HOOKS, "workflow_id": job_id + HOOK_SUFFIX,
                "app_version": VERSION, "authenticated_user": dbos_user(order.account, order.dialect),
            }  # fmt: skip
            await DBOS.enqueue_workflow_with_options_async(options, job_id, data, found)
        return found

    async def _process(self, job_id: str, order: JobSpec) -> Step:
        """On the service's loop: what no process survived so far is not begun for ever."""
        attempt = 0
        with suppress(Unavailable):  # then it is not counted this time
            attempt = await self._begun(job_id)
        return await self._steps.process(job_id, order, attempt)

    async def hook(self, job_id: str, data: Any, found: Any) -> Any:
        """The log of the attempts, the last one being what came of it."""
        from dbos import DBOS

        order, outcome = spec_from_json(data), outcome_from_json(found)
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

        if self._closing:
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
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))

        self.running += 1
        try:
            return await DBOS.run_step_async({"name": name}, hop)
        finally:
            self.running -= 1
