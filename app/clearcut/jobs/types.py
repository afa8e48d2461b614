"""The data of a job: its specification, its outcome and its state.

``JobSpec`` and ``Outcome`` are stored as JSON in the queue's database. A rename or removal of one of their fields would
lose data of jobs that earlier versions accepted.
"""

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
"""Partition of callers without an account in a service with accounts. Together they have the limits of one account."""

LEASE_S = 7 * 86_400
"""Seconds for which a waiting job's credits stay reserved and its input stays stored."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """The request of a job, as it was accepted."""

    dialect: str
    """Name of the API."""
    options: RemoveOptions
    field: str
    """The caller's name for the image field, for error messages."""
    accepted: float
    """Time of acceptance, Unix time in seconds."""
    base: str
    """Scheme and host of the request, for the URL of the output."""
    request_id: str
    fingerprint: str
    """SHA-256 digest of the request, hexadecimal."""
    model: str = ""
    """The API's model name of the request, repeated in responses."""
    served_model: str | None = None
    """Name of the served model that makes the matte; None uses the default."""
    account: str | None = None
    """Id of the account; None for a caller without an account."""
    cost: int = 0
    """Price in credits."""
    charge: str = ""
    """Id of the charge, unique for each accepted job. Empty in jobs of earlier versions: derived from the job id."""
    owner: str = ""
    """Owner of the stored files for quotas (``owner_tag``). Callers without an account have one owner together.

    Empty in a service without accounts, and in jobs of earlier versions.
    """
    url: str | None = dataclasses.field(default=None, repr=False)
    """URL of the image. None if the image was sent with the request and is in the store."""
    webhook: str | None = dataclasses.field(default=None, repr=False)
    """URL of the webhook."""
    moderate: bool = False
    """Whether content moderation was requested."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a finished job."""

    ok: bool
    finished: float
    """Time of the result, Unix time in seconds."""
    seconds: float = 0.0
    """Processing time in seconds, without waiting."""
    output: str | None = None
    """Key of the output in the store."""
    media_type: str = ""
    width: int = 0
    height: int = 0
    moderation: Moderation | None = None
    """Result of content moderation; None if it was not requested."""
    status: int = 200
    """HTTP status that a synchronous request would have had."""
    reason: str = ""
    """Reason of a failure, as counted in metrics."""
    message: str = ""
    """Error message for the caller."""
    model: str | None = None
    """Name of the model that made the matte; None in jobs of earlier versions."""


@dataclass(frozen=True, slots=True)
class JobView:
    """The current state of a job."""

    id: str
    spec: JobSpec
    state: State
    outcome: Outcome | None = None
    """None until the job has finished."""
    webhook_state: WebhookState | None = None
    """State of the webhook; None for a job without a webhook."""


_SPEC, _OUTCOME = TypeAdapter(JobSpec), TypeAdapter(Outcome)


def spec_to_json(spec: JobSpec) -> dict[str, Any]:
    """Return the stored form of a specification, without default values."""
    data: dict[str, Any] = _SPEC.dump_python(spec, mode="json", exclude_defaults=True)
    return data


def spec_from_json(data: object) -> JobSpec:
    """Read the stored form of a specification."""
    return _SPEC.validate_python(data)


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return the stored form of an outcome, without default values."""
    data: dict[str, Any] = _OUTCOME.dump_python(outcome, mode="json", exclude_defaults=True)
    return data


def outcome_from_json(data: object) -> Outcome:
    """Read the stored form of an outcome."""
    return _OUTCOME.validate_python(data)


def new_job_id() -> str:
    """Return a random job id."""
    return str(uuid.uuid4())


def idempotent_job_id(account: str, idempotency_key: str, secret: bytes) -> str:
    """Return the job id for an account's Idempotency-Key. Without the signing secret it cannot be computed."""
    digest = hmac.digest(secret, repr(("job", account, idempotency_key)).encode(), hashlib.sha256)
    return str(uuid.UUID(bytes=digest[:16], version=4))


def is_job_id(text: str) -> bool:
    """Return whether the text has the form of a job id."""
    return _ID.fullmatch(text) is not None


def new_charge_id() -> str:
    """Return a random id for the charge of a job."""
    return JOB_PREFIX + uuid.uuid4().hex[1:]


def job_charge(job_id: str, spec: JobSpec) -> Charge | None:
    """Return the charge of a job; None for a job without an account.

    All attempts at a job have the same charge, so that it is settled once.
    """
    if spec.account is None:
        return None
    return Charge(spec.charge or JOB_PREFIX + job_id.replace("-", "")[:31], spec.account, spec.cost)


def partition_of(job_id: str, spec: JobSpec) -> str:
    """Return the queue partition of a job. Each partition has the limits of one account.

    A partition is an account, or all callers without an account (``ANONYMOUS``). In a service without accounts it is
    one sixteenth of the jobs.
    """
    if spec.account is not None:
        return spec.account
    return ANONYMOUS if spec.owner else f"{ANONYMOUS}-{job_id[0]}"


def message_id(job_id: str, outcome: Outcome) -> str:
    """Return the id of a webhook message.

    Success and failure have different ids. A receiver that ignores repeated ids still receives the success of a job
    that failed at first.
    """
    return job_id if outcome.ok else f"{job_id}-failed"


def owner_tag(account: str, secret: bytes) -> str:
    """Return the owner of an account's files. It is part of output URLs and does not reveal the account."""
    return hmac.digest(secret, f"clearcut-owner\n{account}".encode(), hashlib.sha256).hex()[:12]


def input_key(job_id: str, spec: JobSpec) -> str:
    """Return the store's key of the input image. Different requests with the same job id have different keys."""
    return owned_key(spec.owner, f"{job_id}.{spec.fingerprint[:16]}.in")


def output_key(job_id: str, spec: JobSpec, extension: str) -> str:
    """Return the store's key of the output."""
    return owned_key(spec.owner, f"{job_id}.{extension}")
