"""The nouns of a job: what was asked for, what came of it, where it stands. All of it goes through JSON and back."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from clearcut.accounts.types import JOB_PREFIX, Charge
from clearcut.imaging.options import RemoveOptions
from clearcut.storage.quota import owned_key

State = Literal["queued", "processing", "completed", "failed"]
WebhookState = Literal["pending", "sent", "failed"]
Moderation = Literal["passed", "refused", "not run"]

ANONYMOUS = "anonymous"
"""Callers without an account in a service with accounts: together they have the limits of one account."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What one job is asked for."""

    dialect: str
    options: RemoveOptions
    field: str
    """The picture's field in the dialect, for errors."""
    accepted: float
    """Unix seconds."""
    base: str
    """Where the caller reaches this service, for the address of the output: scheme and host."""
    request_id: str
    fingerprint: str
    """Of the request; hexadecimal SHA-256."""
    model: str = ""
    """As it was asked for, to be said again."""
    account: str | None = None
    cost: int = 0
    """Credits."""
    charge: str = ""
    """Id of its charge, one for each accepted job. Empty in jobs of earlier versions: derived from the job's id."""
    owner: str = ""
    """What its files are counted by (``owner_tag``); callers without an account are counted together.

    Empty in a service without accounts, and in jobs of earlier versions.
    """
    url: str | None = dataclasses.field(default=None, repr=False)
    """Where the picture is; else it was sent, and is in the store."""
    webhook: str | None = dataclasses.field(default=None, repr=False)
    moderate: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job."""

    ok: bool
    finished: float
    """Unix seconds."""
    seconds: float = 0.0
    """Of work on the picture, waiting not counted."""
    output: str | None = None
    """The store's key."""
    media_type: str = ""
    width: int = 0
    height: int = 0
    moderation: Moderation | None = None
    """None where it was not asked for."""
    status: int = 200
    """As the synchronous route would have answered."""
    reason: str = ""
    """Of a failure, as metrics count it."""
    message: str = ""
    """Of a failure, for the caller."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is now."""

    id: str
    order: JobSpec
    state: State
    outcome: Outcome | None = None
    hook: WebhookState | None = None
    """How far the webhook is; None without one."""


_ORDER, _OUTCOME = TypeAdapter(JobSpec), TypeAdapter(Outcome)


def spec_to_json(order: JobSpec) -> dict[str, Any]:
    """As the queue keeps it; defaults are left out."""
    found: dict[str, Any] = _ORDER.dump_python(order, mode="json", exclude_defaults=True)
    return found


def spec_from_json(data: object) -> JobSpec:
    return _ORDER.validate_python(data)


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = _OUTCOME.dump_python(outcome, mode="json", exclude_defaults=True)
    return found


def outcome_from_json(data: object) -> Outcome:
    return _OUTCOME.validate_python(data)


def new_job_id() -> str:
    return str(uuid.uuid4())


def idempotent_job_id(account: str, idempotency_key: str, secret: bytes) -> str:
    """The id of the job that an account's Idempotency-Key identifies; not computable without the signing secret."""
    digest = hmac.digest(secret, repr(("job", account, idempotency_key)).encode(), hashlib.sha256)
    return str(uuid.UUID(bytes=digest[:16], version=4))


def is_job_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def new_charge_id() -> str:
    return JOB_PREFIX + uuid.uuid4().hex[1:]


def job_charge(job_id: str, order: JobSpec) -> Charge | None:
    """The job's charge, the same at every attempt so that it is settled once; None for a job without an account."""
    if order.account is None:
        return None
    return Charge(order.charge or JOB_PREFIX + job_id.replace("-", "")[:31], order.account, order.cost)


def partition_of(job_id: str, order: JobSpec) -> str:
    """Jobs with the same partition have the limits of one account.

    That is an account, all callers without one (``ANONYMOUS``), or, in a service without accounts, a sixteenth of its
    jobs.
    """
    if order.account is not None:
        return order.account
    return ANONYMOUS if order.owner else f"{ANONYMOUS}-{job_id[0]}"


def message_id(job_id: str, outcome: Outcome) -> str:
    """A webhook's: a receiver that drops what it had before must hear of the success of a job that failed at first."""
    return job_id if outcome.ok else f"{job_id}-failed"


def owner_tag(account: str, secret: bytes) -> str:
    """What an account's files are counted by; it is part of the URLs of outputs and does not show the account."""
    return hmac.digest(secret, f"clearcut-owner\n{account}".encode(), hashlib.sha256).hex()[:12]


def input_key(job_id: str, order: JobSpec) -> str:
    """The store's key of the job's image until the job is done; another order under the same id has another key."""
    return owned_key(order.owner, f"{job_id}.{order.fingerprint[:16]}.in")


def output_key(job_id: str, order: JobSpec, extension: str) -> str:
    """The store's key of the job's output."""
    return owned_key(order.owner, f"{job_id}.{extension}")
