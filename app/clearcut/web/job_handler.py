"""Asynchronous requests of all dialects: create and read jobs. The steps have the same names as in ``sync_handler``."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from clearcut.errors import InvalidInput, JobNotFound, JobsDisabled, MissingImage
from clearcut.fetch.data_url import decode_data_url, is_data_url
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.request.body import Body

from .auth import authenticate
from .context import RequestContext
from .credits import check_credits
from .idempotency import idempotency_key
from .rate_limits import check_job_rate, check_rate

if TYPE_CHECKING:
    from clearcut.jobs.manager import JobManager
    from clearcut.jobs.types import JobSpec, JobView

    JobBody = Callable[[JobView, str | None], dict[str, Any]]
    """Creates the JSON object about a job from the job and the URL of its output; None without an output."""

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The content of a request for a job. Either ``url`` or ``data`` is set."""

    options: RemoveOptions
    image_field: str
    """The caller's field of the image."""
    url: str | None = None
    """URL of the image."""
    data: bytearray | None = None
    """The image."""
    webhook: str | None = None
    """URL of the webhook."""
    model: str = ""
    """The API's name of the model that the caller names; it only appears in responses."""
    served_model: str | None = None
    """Name of the served model that makes the matte; None uses the default."""
    model_field: str = "model"
    """The caller's field of ``served_model``."""
    moderate: bool = False


@dataclass(frozen=True, slots=True)
class JobOperation:
    """The part of a job API that a dialect defines."""

    name: str
    """Name of the dialect in the queue and in metrics."""
    read: Callable[[Request, Body], Awaitable[JobRequest]]
    """Reads and parses the body; raises InputError."""
    webhook_body: JobBody
    """The body of the webhook of a finished job."""
    per_minute: int = 0
    """Jobs of one key per minute; 0 for no limit."""
    concurrent: int = 0
    """Unfinished jobs of one key; 0 for no limit."""


def register(service: Service, operation: JobOperation) -> None:
    """Let the job manager call the dialect's webhooks."""
    if service.jobs is not None:
        service.jobs.webhook_bodies[operation.name] = operation.webhook_body


async def accept_job(service: Service, request: Request, operation: JobOperation) -> JobView:
    """Accept a job. An accepted job survives crashes and restarts.

    Raises:
        ClearcutError: the request is refused.
    """
    jobs = _require_jobs(service)
    context = RequestContext.of(request)
    account = await authenticate(service, request)
    await check_rate(service, request, account)
    await check_credits(service, request, account, jobs.acceptance.has_job)
    await check_job_rate(service, request, account, operation.name, operation.per_minute)
    key = idempotency_key(request.headers) if account is not None else None
    if key is None:  # a repeated request needs no place in the queue
        jobs.acceptance.require_capacity(account)
    with jobs.acceptance_slots.enter(context.body) as slot:
        with context.timing.stage("read"):
            job_request = await operation.read(request, context.body)
        slot.reacquire()
        context.field_names |= {"image": job_request.image_field, "model": job_request.model_field}
        if service.models is not None:
            service.models.find(job_request.served_model)
        if job_request.url is not None and is_data_url(job_request.url):
            raise InvalidInput("image", "an https:// URL; data: URLs are not accepted here")
        spec = await _job_spec(service, request, operation, job_request, account.id if account is not None else None)
        with context.timing.stage("accept"):
            job = await jobs.acceptance.accept(spec, job_request.data, account, key, operation.concurrent)
    context.log_fields["job"] = job.id
    return job


async def job_response(service: Service, request: Request, dialect: str, body: JobBody) -> Response:
    """Return the response with the caller's job that the path names.

    Raises:
        JobNotFound: the caller has no such job in this dialect.
    """
    from clearcut.jobs.types import is_job_id

    jobs = _require_jobs(service)
    account = await authenticate(service, request)
    job_id = request.path_params["id"]
    job = await jobs.find(job_id, account) if is_job_id(job_id) else None
    if job is None or job.spec.dialect != dialect:
        raise JobNotFound
    return JSONResponse(body(job, jobs.output_url(job)), headers=_model_header(job))


async def read_image(service: Service, request: Request, text: str | None, field: str) -> dict[str, Any]:
    """Return ``url`` or ``data`` of a ``JobRequest``, from a URL or a ``data:`` URL.

    Raises:
        MissingImage: there is no text.
        InvalidInput, TooManyBytes: the ``data:`` URL is not base64, or too large.
    """
    RequestContext.of(request).field_names["image"] = field
    if text is None:
        raise MissingImage(f"Send the URL of the image in '{field}'")
    if not is_data_url(text):
        return {"url": text}
    decode = partial(decode_data_url, text, role="image", max_bytes=service.settings.max_bytes)
    return {"data": await service.on_pool(decode)}


def _model_header(job: JobView) -> dict[str, str]:
    """Return the header X-Model of a finished job."""
    return {"X-Model": job.outcome.model} if job.outcome is not None and job.outcome.model else {}


def timestamp(seconds: float) -> str:
    """Format Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _require_jobs(service: Service) -> JobManager:
    """Return the job manager; raise JobsDisabled, or an error if the service is not ready."""
    if service.jobs is None:
        raise JobsDisabled
    service.lifecycle.admit()
    return service.jobs


async def _job_spec(
    service: Service, request: Request, operation: JobOperation, job_request: JobRequest, account_id: str | None
) -> JobSpec:
    from clearcut.jobs.types import JobSpec  # jobs are an optional part

    return JobSpec(
        dialect=operation.name,
        options=job_request.options,
        field=job_request.image_field,
        accepted=time.time(),
        base=_base_url(request),
        request_id=RequestContext.of(request).request_id,
        fingerprint=await service.on_pool(partial(_fingerprint, request.scope["path"], job_request)),
        model=job_request.model,
        served_model=job_request.served_model,
        account=account_id,
        url=job_request.url,
        webhook=job_request.webhook,
        moderate=job_request.moderate,
    )


def _fingerprint(path: str, job: JobRequest) -> str:
    """Return a digest of the request. It must not change between versions: the queue compares it."""
    image = hashlib.sha256(job.data).hexdigest() if job.data is not None else job.url
    content: tuple[Any, ...] = (path, job.options, job.image_field, image, job.webhook, job.model, job.moderate)
    if job.served_model is not None:
        content += (job.served_model,)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _base_url(request: Request) -> str:
    """Return the scheme and host that the caller used; ``http://localhost`` for an invalid Host header."""
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else "http://localhost"
