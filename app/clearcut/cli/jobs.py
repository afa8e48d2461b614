"""``python -m clearcut jobs …``: look at the jobs, try one again, drop what is finished. The service may run
meanwhile."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clearcut.accounts.keys import is_key_id, parse_key_id
from clearcut.errors import StartupError
from clearcut.jobs.dbos_queue import dbos_installed
from clearcut.jobs.dbos_rows import HOOK_SUFFIX, HOOKS, JOBS, job_view
from clearcut.jobs.models import JobView, input_key, is_job_id, partition_of
from clearcut.jobs.nodes import queue_url
from clearcut.jobs.webhook import account_secret
from clearcut.settings import Settings
from clearcut.storage.factory import blob_store

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_STATES = {"queued": ["ENQUEUED", "DELAYED"], "processing": ["PENDING"]}
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_PAGE = 500


def add_commands(commands: Commands) -> None:
    """Add ``jobs`` and what comes after it to the command line."""
    jobs = commands.add_parser("jobs", help="the jobs of CLEARCUT_JOBS")
    actions = jobs.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="jobs, the newest first")
    listed.add_argument("--state", choices=("queued", "processing", "completed", "failed"))
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="at most (50)")
    show = actions.add_parser("show", help="one job: its order, steps, outcome and webhook calls, as JSON")
    show.add_argument("job", help="its id")
    retry = actions.add_parser("retry", help="do a failed job again; of a completed one send the webhook again")
    retry.add_argument("job", help="its id")
    secret = actions.add_parser("webhook-secret", help="the secret that verifies the webhooks of one account")
    secret.add_argument("key", help="the API key or its id")
    purge = actions.add_parser("purge", help="drop finished jobs and their files")
    purge.add_argument("--hours", type=float, default=24, metavar="N", help="finished so long ago (24)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what the command line says; the exit code.

    Raises:
        StartupError: there are no jobs, or their database cannot be used.
    """
    if arguments.action == "webhook-secret":
        return _webhook_secret(arguments.key, settings)
    if settings.jobs == "off":
        raise StartupError("jobs are off: set CLEARCUT_JOBS=sqlite or postgresql, and CLEARCUT_DATA_DIR")
    if not dbos_installed():
        raise StartupError(f"CLEARCUT_JOBS={settings.jobs}: install the 'jobs' extra")
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    try:
        client = DBOSClient(
            system_database_url=queue_url(settings),
            serializer=DBOSPortableJSONSerializer(),
            application_name="clearcut",
        )
        client.list_workflows(limit=1, load_input=False, load_output=False)
    except Exception as exc:
        raise StartupError(f"the jobs' database cannot be used, or no service has made it yet: {exc}") from None
    try:
        return _act(arguments, client, settings)
    finally:
        client.destroy()


def _act(arguments: argparse.Namespace, client: DBOSClient, settings: Settings) -> int:
    match arguments.action:
        case "list":
            for job in _listed(client, arguments.state, arguments.limit):
                _say(_line(job))
            return 0
        case "purge":
            _say(f"{_purge(client, settings, time.time() - 3600 * arguments.hours)} jobs dropped")
            return 0
    rows = _rows(client, arguments.job) if is_job_id(arguments.job) else {}
    if arguments.job not in rows:
        return _refuse("there is no such job")
    hook = rows.get(arguments.job + HOOK_SUFFIX)
    job = job_view(rows[arguments.job], hook)
    if arguments.action == "show":
        _say(json.dumps(_whole(client, job, hook), indent=2))
        return 0
    return _retry(client, job)


def _webhook_secret(key: str, settings: Settings) -> int:
    if settings.webhook_secret is None:
        raise StartupError("CLEARCUT_WEBHOOK_SECRET is not set: webhooks are not signed")
    account = parse_key_id(key) or key
    if not is_key_id(account):
        return _refuse("expected an API key or its id")
    _say(account_secret(settings.webhook_secret.get_secret_value(), account))
    return 0


def _listed(client: DBOSClient, state: str | None, limit: int) -> list[JobView]:
    found: list[JobView] = []
    offset = 0
    while len(found) < limit:
        rows = client.list_workflows(
            name="job", status=_STATES.get(state or "", _ENDED) if state else None, sort_desc=True, limit=_PAGE,
            offset=offset,
        )  # fmt: skip
        hooks = {row.workflow_id: row for row in _hooks_of(client, rows)}
        jobs = [job_view(row, hooks.get(row.workflow_id + HOOK_SUFFIX)) for row in rows]
        found += [job for job in jobs if state is None or job.state == state]
        offset += len(rows)
        if len(rows) < _PAGE:
            break
    return found[:limit]


def _hooks_of(client: DBOSClient, rows: Sequence[WorkflowStatus]) -> list[WorkflowStatus]:
    ids = [row.workflow_id + HOOK_SUFFIX for row in rows]
    return client.list_workflows(workflow_ids=ids, load_input=False) if ids else []


def _rows(client: DBOSClient, job_id: str) -> dict[str, WorkflowStatus]:
    return {row.workflow_id: row for row in client.list_workflows(workflow_ids=[job_id, job_id + HOOK_SUFFIX])}


def _line(job: JobView) -> str:
    accepted = datetime.fromtimestamp(job.order.accepted, UTC).isoformat(timespec="seconds")
    reason = job.outcome.reason if job.outcome is not None else ""
    hook = f"webhook {job.hook}" if job.hook is not None else ""
    words = (job.id, job.state, accepted, job.order.dialect, job.order.account or "-", reason or "-", hook or "-")
    return "\t".join(words)


def _whole(client: DBOSClient, job: JobView, hook: WorkflowStatus | None) -> dict[str, Any]:
    """Without what addresses carry behind their path, which may be a secret."""
    order = asdict(job.order)
    for name in ("url", "webhook"):
        if order[name] is not None:
            parts = urlsplit(order[name])
            order[name] = f"{parts.scheme}://{parts.netloc}{parts.path}" + ("?…" if parts.query else "")
    steps = [
        {"step": each["function_name"], "began": each["started_at_epoch_ms"], "ended": each["completed_at_epoch_ms"]}
        for each in client.list_workflow_steps(job.id)
    ]  # fmt: skip
    calls = []
    if hook is not None:
        found = client.list_workflow_steps(hook.workflow_id)
        calls = [step["output"] for step in found if step["function_name"] == "deliver" and step["output"]]
    outcome = asdict(job.outcome) if job.outcome is not None else None
    said = {"id": job.id, "state": job.state, "order": order, "outcome": outcome, "steps": steps}
    return said | {"webhook": {"state": job.hook, "calls": calls} if job.hook is not None else None}


def _retry(client: DBOSClient, job: JobView) -> int:
    if job.state == "failed":
        client.delete_workflows([job.id + HOOK_SUFFIX])
        client.rewind_workflow(job.id, queue_name=JOBS, queue_partition_key=partition_of(job.id, job.order))
    elif job.state == "completed" and job.hook in ("sent", "failed"):
        client.rewind_workflow(job.id + HOOK_SUFFIX, queue_name=HOOKS)
    else:
        return _refuse(f"the job is {job.state}: there is nothing to do again")
    return 0


def _purge(client: DBOSClient, settings: Settings, before: float) -> int:
    """Finished jobs, unless their webhook is still on its way."""
    blobs = blob_store(settings)
    until = datetime.fromtimestamp(before, UTC).isoformat()
    dropped = offset = 0
    while True:
        rows = client.list_workflows(name="job", status=_ENDED, completed_before=until, limit=_PAGE, offset=offset)
        hooks = {row.workflow_id: row for row in _hooks_of(client, rows)}
        jobs = [job_view(row, hooks.get(row.workflow_id + HOOK_SUFFIX)) for row in rows]
        gone = [job for job in jobs if job.hook != "pending"]
        for job in gone:
            blobs.delete(input_key(job.id, job.order))
            if job.outcome is not None and job.outcome.output is not None:
                blobs.delete(job.outcome.output)
        if gone:
            client.delete_workflows([each for job in gone for each in (job.id, job.id + HOOK_SUFFIX)])
        dropped += len(gone)
        offset += len(rows) - len(gone)
        if len(rows) < _PAGE:
            return dropped


def _refuse(why: str) -> int:
    print(f"clearcut: {why}", file=sys.stderr)  # noqa: T201 - for the person at the console
    return 1


def _say(line: str) -> None:
    print(line)  # noqa: T201 - for the person at the console
