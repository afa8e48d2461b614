"""``clearcut jobs``: list, show, retry and purge jobs. The service may run at the same time."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clearcut.accounts.keys import is_key_id, parse_key_id
from clearcut.errors import StartupError, missing_extra
from clearcut.jobs.dbos_queue import dbos_installed
from clearcut.jobs.dbos_rows import (
    DELIVERY_STEP,
    JOB_QUEUE,
    JOB_WORKFLOW,
    WEBHOOK_QUEUE,
    job_view,
    webhook_workflow_id,
)
from clearcut.jobs.nodes import queue_url
from clearcut.jobs.types import JobView, input_key, is_job_id, partition_of
from clearcut.jobs.webhook import account_secret
from clearcut.settings import Settings
from clearcut.storage.factory import blob_store

from .terminal import print_message, print_output

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus

    from .parser import Commands

_STATUSES = {"queued": ["ENQUEUED", "DELAYED"], "processing": ["PENDING"]}
_FINISHED_STATUSES = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_PAGE_ROWS = 500


def add_commands(commands: Commands) -> None:
    """Add ``jobs`` and its actions to the command line."""
    jobs = commands.add_parser("jobs", help="manage asynchronous jobs (CLEARCUT_JOBS)")
    actions = jobs.add_subparsers(dest="action", required=True)
    list_jobs = actions.add_parser("list", help="list jobs, newest first")
    list_jobs.add_argument("--state", choices=("queued", "processing", "completed", "failed"))
    list_jobs.add_argument("--limit", type=int, default=50, metavar="N", help="maximum number of jobs (default: 50)")
    show = actions.add_parser("show", help="show a job as JSON: request, steps, outcome and webhook attempts")
    show.add_argument("job", help="id of the job")
    retry = actions.add_parser("retry", help="process a failed job again, or send the webhook of a completed job again")
    retry.add_argument("job", help="id of the job")
    secret = actions.add_parser("webhook-secret", help="print the secret that verifies the webhooks of an account")
    secret.add_argument("key", help="the API key or its id")
    purge = actions.add_parser("purge", help="delete finished jobs and their files")
    purge.add_argument(
        "--hours", type=float, default=24, metavar="N", help="minimum hours since the job finished (default: 24)"
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command.

    Returns:
        The exit code.

    Raises:
        StartupError: jobs are disabled, or their database cannot be used.
    """
    if arguments.action == "webhook-secret":
        return _webhook_secret(arguments.key, settings)
    if settings.jobs == "off":
        raise StartupError("jobs are disabled: set CLEARCUT_JOBS=sqlite or postgresql, and CLEARCUT_DATA_DIR")
    if not dbos_installed():
        raise StartupError(f"CLEARCUT_JOBS={settings.jobs}: {missing_extra('jobs')}")
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    try:
        client = DBOSClient(
            system_database_url=queue_url(settings),
            serializer=DBOSPortableJSONSerializer(),
            application_name="clearcut",
        )
        client.list_workflows(limit=1, load_input=False, load_output=False)
    except Exception as exc:
        raise StartupError(f"the job database cannot be used, or no service has created it yet: {exc}") from None
    try:
        return _run_action(arguments, client, settings)
    finally:
        client.destroy()


def _run_action(arguments: argparse.Namespace, client: DBOSClient, settings: Settings) -> int:
    match arguments.action:
        case "list":
            for job in _list(client, arguments.state, arguments.limit):
                print_output(_line(job))
            return 0
        case "purge":
            print_output(f"{_purge(client, settings, time.time() - 3600 * arguments.hours)} jobs deleted")
            return 0
    webhook_id = webhook_workflow_id(arguments.job)
    rows: dict[str, WorkflowStatus] = {}
    if is_job_id(arguments.job):
        rows = {row.workflow_id: row for row in client.list_workflows(workflow_ids=[arguments.job, webhook_id])}
    if arguments.job not in rows:
        return _error("job not found")
    webhook = rows.get(webhook_id)
    job = job_view(rows[arguments.job], webhook)
    if arguments.action == "show":
        print_output(json.dumps(_to_json(client, job, webhook), indent=2))
        return 0
    return _retry(client, job)


def _webhook_secret(key: str, settings: Settings) -> int:
    if settings.webhook_secret is None:
        raise StartupError("CLEARCUT_WEBHOOK_SECRET is not set: webhooks are not signed")
    account = parse_key_id(key) or key
    if not is_key_id(account):
        return _error("expected an API key or its id")
    print_output(account_secret(settings.webhook_secret.get_secret_value(), account))
    return 0


def _list(client: DBOSClient, state: str | None, limit: int) -> list[JobView]:
    """Return up to ``limit`` jobs in a state, or in any state, newest first."""
    jobs: list[JobView] = []
    statuses = _STATUSES.get(state, _FINISHED_STATUSES) if state else None
    offset = 0
    while len(jobs) < limit:
        rows = client.list_workflows(
            name=JOB_WORKFLOW, status=statuses, sort_desc=True, limit=_PAGE_ROWS, offset=offset
        )
        jobs += [job for job in _views(client, rows) if state is None or job.state == state]
        offset += len(rows)
        if len(rows) < _PAGE_ROWS:
            break
    return jobs[:limit]


def _views(client: DBOSClient, rows: Sequence[WorkflowStatus]) -> list[JobView]:
    """Convert the rows of jobs, with their webhooks."""
    if not rows:
        return []
    webhook_ids = [webhook_workflow_id(row.workflow_id) for row in rows]
    webhooks = {row.workflow_id: row for row in client.list_workflows(workflow_ids=webhook_ids, load_input=False)}
    return [job_view(row, webhooks.get(webhook_id)) for row, webhook_id in zip(rows, webhook_ids, strict=True)]


def _line(job: JobView) -> str:
    accepted = datetime.fromtimestamp(job.spec.accepted, UTC).isoformat(timespec="seconds")
    reason = job.outcome.reason if job.outcome is not None else ""
    webhook = f"webhook {job.webhook_state}" if job.webhook_state is not None else ""
    columns = (job.id, job.state, accepted, job.spec.dialect, job.spec.account or "-", reason or "-", webhook or "-")
    return "\t".join(columns)


def _to_json(client: DBOSClient, job: JobView, webhook: WorkflowStatus | None) -> dict[str, Any]:
    """Return all data of a job. The queries of URLs are omitted, because they may contain secrets."""
    spec = asdict(job.spec)
    for name in ("url", "webhook"):
        if spec[name] is not None:
            parts = urlsplit(spec[name])
            spec[name] = f"{parts.scheme}://{parts.netloc}{parts.path}" + ("?…" if parts.query else "")
    steps = [
        {"step": step["function_name"], "began": step["started_at_epoch_ms"], "ended": step["completed_at_epoch_ms"]}
        for step in client.list_workflow_steps(job.id)
    ]  # fmt: skip
    attempts = []
    if webhook is not None:
        webhook_steps = client.list_workflow_steps(webhook.workflow_id)
        attempts = [
            step["output"] for step in webhook_steps if step["function_name"] == DELIVERY_STEP and step["output"]
        ]
    return {
        "id": job.id,
        "state": job.state,
        "order": spec,
        "outcome": asdict(job.outcome) if job.outcome is not None else None,
        "steps": steps,
        "webhook": {"state": job.webhook_state, "calls": attempts} if job.webhook_state is not None else None,
    }


def _retry(client: DBOSClient, job: JobView) -> int:
    webhook_id = webhook_workflow_id(job.id)
    if job.state == "failed":
        client.delete_workflows([webhook_id])
        client.rewind_workflow(job.id, queue_name=JOB_QUEUE, queue_partition_key=partition_of(job.id, job.spec))
        print_output(f"{job.id}: the job will be processed again")
    elif job.state == "completed" and job.webhook_state in ("sent", "failed"):
        client.rewind_workflow(webhook_id, queue_name=WEBHOOK_QUEUE)
        print_output(f"{job.id}: the webhook will be sent again")
    elif job.state == "completed" and job.webhook_state is None:
        return _error("the job is completed and has no webhook to send")
    elif job.state == "completed":
        return _error("the webhook of the job is being sent and cannot be sent again now")
    else:
        return _error(f"the job is {job.state} and cannot be retried")
    return 0


def _purge(client: DBOSClient, settings: Settings, before: float) -> int:
    """Delete jobs that finished before a Unix time, unless their webhook is pending. Returns their number."""
    blobs = blob_store(settings)
    completed_before = datetime.fromtimestamp(before, UTC).isoformat()
    deleted = offset = 0
    while True:
        rows = client.list_workflows(
            name=JOB_WORKFLOW,
            status=_FINISHED_STATUSES,
            completed_before=completed_before,
            limit=_PAGE_ROWS,
            offset=offset,
        )
        jobs = [job for job in _views(client, rows) if job.webhook_state != "pending"]
        for job in jobs:
            blobs.delete(input_key(job.id, job.spec))
            if job.outcome is not None and job.outcome.output is not None:
                blobs.delete(job.outcome.output)
        if jobs:
            client.delete_workflows([each for job in jobs for each in (job.id, webhook_workflow_id(job.id))])
        deleted += len(jobs)
        offset += len(rows) - len(jobs)
        if len(rows) < _PAGE_ROWS:
            return deleted


def _error(message: str) -> int:
    print_message(f"clearcut: {message}")
    return 1
