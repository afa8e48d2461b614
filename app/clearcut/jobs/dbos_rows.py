"""The queue's rows: what a job and its webhook are called there, and how they read."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from .models import JobSpec, JobView, Outcome, State, WebhookState, outcome_from_json, spec_from_json

if TYPE_CHECKING:
    from dbos import WorkflowStatus

JOBS, HOOKS = "account-jobs", "hooks"
EARLIER_JOBS = "jobs"
"""The queue of earlier versions, not partitioned by account."""
HOOK_SUFFIX = "-hook"
VERSION = "1"
"""Of the workflows' steps: a process goes on with workflows of its own version only."""
STATES: dict[str, State] = {"DELAYED": "queued", "ENQUEUED": "queued", "PENDING": "processing"}


def dbos_user(account: str | None, dialect: str) -> str:
    """What a dialect's own limits are counted by."""
    return f"{account}/{dialect}" if account is not None else ""


def job_view(job: WorkflowStatus, hook: WorkflowStatus | None) -> JobView:
    """A job as the queue's rows have it."""
    order = spec_from_json(job.input["args"][0] if job.input is not None else {})
    state: State = STATES.get(job.status, "failed")
    outcome: Outcome | None = None
    if job.status == "SUCCESS":
        outcome = outcome_from_json(job.output)
        state = "completed" if outcome.ok else "failed"
    elif state == "failed":
        outcome = Outcome(False, (job.updated_at or 0) / 1000, status=500, reason="internal", message="Internal error")
    return JobView(job.workflow_id, order, state, outcome, _hook(order, hook))


def _hook(order: JobSpec, hook: WorkflowStatus | None) -> WebhookState | None:
    if order.webhook is None:
        return None
    if hook is None or hook.status in STATES:
        return "pending"
    return "sent" if hook.status == "SUCCESS" and hook.output and hook.output[-1]["done"] else "failed"


def delete_finished(before: float) -> int:
    """Drop what was finished before then (Unix seconds); how many."""
    from dbos import DBOS

    until = datetime.datetime.fromtimestamp(before, datetime.UTC).isoformat()
    dropped = 0
    while True:
        old = DBOS.list_workflows(completed_before=until, limit=500, load_input=False, load_output=False)
        if not old:
            return dropped
        DBOS.delete_workflows([each.workflow_id for each in old])
        dropped += len(old)
