"""The rows of the DBOS database: names of queues and workflows, and their conversion to ``JobView``.

The names are stored in the database. Changing one would leave jobs of earlier versions unfinished.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from .types import JobSpec, JobView, Outcome, State, WebhookState, outcome_from_json, spec_from_json

if TYPE_CHECKING:
    from dbos import WorkflowStatus

JOB_QUEUE, WEBHOOK_QUEUE = "account-jobs", "hooks"
EARLIER_JOB_QUEUE = "jobs"
"""The job queue of earlier versions, which has no partitions."""
JOB_WORKFLOW, WEBHOOK_WORKFLOW = "job", "hook"
DELIVERY_STEP = "deliver"
"""Step of the webhook workflow that makes one attempt at delivery."""
WORKFLOW_VERSION = "1"
"""Version of the workflows' steps. A process continues only workflows of its own version."""
STATES: dict[str, State] = {"DELAYED": "queued", "ENQUEUED": "queued", "PENDING": "processing"}
"""States of unfinished jobs by DBOS status."""


def webhook_workflow_id(job_id: str) -> str:
    """Return the id of the workflow that delivers the webhook of a job."""
    return f"{job_id}-hook"


def dbos_user(account: str | None, dialect: str) -> str:
    """Return the DBOS user of a job. The limits of one API are counted by it."""
    return f"{account}/{dialect}" if account is not None else ""


def job_view(job: WorkflowStatus, webhook: WorkflowStatus | None) -> JobView:
    """Convert the rows of a job and its webhook."""
    spec = spec_from_json(job.input["args"][0] if job.input is not None else {})
    state: State = STATES.get(job.status, "failed")
    outcome: Outcome | None = None
    if job.status == "SUCCESS":
        outcome = outcome_from_json(job.output)
        state = "completed" if outcome.ok else "failed"
    elif state == "failed":
        outcome = Outcome(False, (job.updated_at or 0) / 1000, status=500, reason="internal", message="Internal error")
    return JobView(job.workflow_id, spec, state, outcome, _webhook_state(spec, webhook))


def _webhook_state(spec: JobSpec, webhook: WorkflowStatus | None) -> WebhookState | None:
    if spec.webhook is None:
        return None
    if webhook is None or webhook.status in STATES:
        return "pending"
    delivered = webhook.status == "SUCCESS" and webhook.output and webhook.output[-1]["done"]
    return "sent" if delivered else "failed"


def delete_finished(before: float) -> int:
    """Delete the jobs that finished before a time.

    Args:
        before: Unix time in seconds.

    Returns:
        The number of deleted workflows.
    """
    from dbos import DBOS

    completed_before = datetime.datetime.fromtimestamp(before, datetime.UTC).isoformat()
    deleted = 0
    while True:
        finished = DBOS.list_workflows(
            completed_before=completed_before, limit=500, load_input=False, load_output=False
        )
        if not finished:
            return deleted
        DBOS.delete_workflows([workflow.workflow_id for workflow in finished])
        deleted += len(finished)
