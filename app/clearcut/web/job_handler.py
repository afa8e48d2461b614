"""What the asynchronous dialects share: how an order is taken in and how a job is looked up."""

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

from clearcut.errors import InvalidInput, JobNotFound, JobsDisabled, MissingImage
from clearcut.fetch.data_url import decode_data_url, is_data_url
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.request.body import Body

from .auth import admit, count_job, idempotency_key, identify
from .context import RequestContext

if TYPE_CHECKING:
    from clearcut.jobs.manager import JobManager
    from clearcut.jobs.models import JobView

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a request asks for, in words that no dialect owns."""

    options: RemoveOptions
    field: str
    """The picture's."""
    url: str | None = None
    data: bytearray | None = None
    """The picture itself; one of the two."""
    webhook: str | None = None
    model: str = ""
    moderate: bool = False


@dataclass(frozen=True, slots=True)
class JobHandler:
    """A dialect's way to take orders."""

    name: str
    """Of the dialect, in the queue and the metrics."""
    read: Callable[[Request, Body], Awaitable[JobRequest]]
    """Takes the body apart; raises InputError."""
    per_minute: int = 0
    """Orders of one key; 0 is no limit."""
    at_once: int = 0
    """Unfinished jobs of one key; 0 is no limit."""


def require_jobs(service: Service) -> JobManager:
    """Return the job manager; raise JobsDisabled if jobs are disabled."""
    if service.jobs is None:
        raise JobsDisabled
    return service.jobs


async def accept_job(service: Service, request: Request, desk: JobHandler) -> JobView:
    """Take an order; the job is durable when this returns.

    Raises:
        ClearcutError: it is refused.
    """
    from clearcut.jobs.models import JobSpec  # an optional room

    jobs = require_jobs(service)
    exchange = RequestContext.of(request)
    service.lifecycle.admit()
    account = await admit(service, request, jobs.acceptance.has_job)
    await count_job(service, request, account, desk.name, desk.per_minute)
    key = idempotency_key(request.headers) if account is not None else None
    if key is None:  # before the body is read; a repeated order needs no place
        jobs.acceptance.require_capacity(account)
    with jobs.acceptance_slots.enter(exchange.body) as place:
        with exchange.trace.stage("read"):
            wanted = await desk.read(request, exchange.body)
        exchange.field_names["image"] = wanted.field
        place.reacquire()
        if wanted.url is not None and is_data_url(wanted.url):
            raise InvalidInput("image", "an https:// URL; data: URLs are not accepted here")
        spec = JobSpec(
            dialect=desk.name, options=wanted.options, field=wanted.field, accepted=time.time(),
            base=_base(request), request_id=exchange.request_id,
            fingerprint=await service.on_pool(partial(_fingerprint, request.scope["path"], wanted)),
            model=wanted.model, account=account.id if account is not None else None,
            url=wanted.url, webhook=wanted.webhook, moderate=wanted.moderate,
        )  # fmt: skip
        with exchange.trace.stage("accept"):
            job = await jobs.acceptance.accept(spec, wanted.data, account, key, desk.at_once)
    exchange.facts["job"] = job.id
    return job


async def find_job(service: Service, request: Request, name: str) -> JobView:
    """The caller's job of this dialect that the path names.

    Raises:
        JobNotFound: there is none.
    """
    from clearcut.jobs.models import is_job_id

    jobs = require_jobs(service)
    service.lifecycle.admit()
    account = await identify(service, request)
    job_id = request.path_params["id"]
    job = await jobs.find(job_id, account) if is_job_id(job_id) else None
    if job is None or job.spec.dialect != name:
        raise JobNotFound
    return job


async def picture(service: Service, request: Request, text: str | None, field: str) -> dict[str, Any]:
    """``url`` or ``data`` of a ``JobRequest``, from an address or a ``data:`` URL.

    Raises:
        MissingImage, InvalidField, TooManyBytes: there is none, or it is no picture in base64.
    """
    RequestContext.of(request).field_names["image"] = field
    if text is None:
        raise MissingImage(f"Send the URL of the image in '{field}'")
    if not is_data_url(text):
        return {"url": text}
    inside = partial(decode_data_url, text, role="image", max_bytes=service.settings.max_bytes)
    return {"data": await service.on_pool(inside)}


def timestamp(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fingerprint(path: str, wanted: JobRequest) -> str:
    picture = hashlib.sha256(wanted.data).hexdigest() if wanted.data is not None else wanted.url
    words = (path, wanted.options, wanted.field, picture, wanted.webhook, wanted.model, wanted.moderate)
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _base(request: Request) -> str:
    """Where the caller reached us; a Host header that is none is not said again."""
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else "http://localhost"
