"""What the asynchronous dialects share: how an order is taken in and how a job is looked up."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from app.errors import InvalidOption, JobNotFound, JobsOff, MalformedBody, MissingImage, TooManyBytes
from app.fetch.data_url import data_url, is_data_url
from app.imaging.options import RemoveOptions
from app.service import Service
from app.web.body import Body
from app.web.dialect import Dialect
from app.web.encoded import encoded_bytes
from app.web.entry import count_job, enter, idempotency_key, identify
from app.web.exchange import Exchange
from app.web.fields import Table
from app.web.openapi import refused
from app.web.schema import TEXT, Schema
from app.web.upload import declared_length

if TYPE_CHECKING:
    from app.jobs.desk import Jobs
    from app.jobs.order import JobView

MAX_JSON_BYTES = 64 * 1024
_MOST_MARKS = 1024
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Wanted:
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
class Desk:
    """A dialect's way to take orders."""

    name: str
    """Of the dialect, in the queue and the metrics."""
    read: Callable[[Request, Body], Awaitable[Wanted]]
    """Takes the body apart; raises InputError."""
    per_minute: int = 0
    """Orders of one key; 0 is no limit."""
    at_once: int = 0
    """Unfinished jobs of one key; 0 is no limit."""


def opened(service: Service) -> Jobs:
    """Raises JobsOff: they are."""
    if service.jobs is None:
        raise JobsOff
    return service.jobs


async def accept(service: Service, request: Request, desk: Desk) -> JobView:
    """Take an order; the job is durable when this returns.

    Raises:
        ClearcutError: it is refused.
    """
    from app.jobs.order import Order  # an optional room

    jobs = opened(service)
    exchange = Exchange.of(request)
    service.lifecycle.admit()
    account = await enter(service, request)
    await count_job(service, request, account, desk.name, desk.per_minute)
    key = idempotency_key(request.headers)
    with jobs.door.enter(exchange.body) as place:
        with exchange.trace.stage("read"):
            wanted = await desk.read(request, exchange.body)
        place.claim()
        if wanted.url is not None and is_data_url(wanted.url):
            raise InvalidOption(wanted.field, "an https:// address; data: URLs are not taken here")
        order = Order(
            dialect=desk.name, options=wanted.options, field=wanted.field, accepted=time.time(),
            base=_base(request), request_id=exchange.request_id,
            fingerprint=await service.on_pool(partial(_fingerprint, request.scope["path"], wanted)),
            model=wanted.model, account=account.id if account is not None else None,
            cost=1 if account is not None else 0, url=wanted.url, webhook=wanted.webhook, moderate=wanted.moderate,
        )  # fmt: skip
        with exchange.trace.stage("accept"):
            job = await jobs.accept(order, wanted.data, account, key, desk.at_once)
    exchange.facts["job"] = job.id
    return job


async def look_up(service: Service, request: Request, name: str) -> JobView:
    """The caller's job of this dialect that the path names.

    Raises:
        JobNotFound: there is none.
    """
    from app.jobs.order import is_id

    jobs = opened(service)
    service.lifecycle.admit()
    account = await identify(service, request)
    job_id = request.path_params["id"]
    job = await jobs.find(job_id, account) if is_id(job_id) else None
    if job is None or job.order.dialect != name:
        raise JobNotFound
    return job


async def read_object(service: Service, request: Request, body: Body, *, pictures: bool) -> dict[str, Any]:
    """The JSON object in a request's body.

    Args:
        pictures: whether a picture may be inside, in base64.

    Raises:
        MalformedBody, TooManyBytes: it is none, or too large.
    """
    kind, _ = parse_options_header(request.headers.get("content-type"))
    if kind != b"application/json":
        raise MalformedBody("Send a JSON object with Content-Type: application/json")
    most = service.settings.max_bytes
    cap = MAX_JSON_BYTES + (encoded_bytes(most) if pictures else 0)
    data = bytearray()
    if (declared_length(request.headers) or 0) > cap:
        raise TooManyBytes.of(most if pictures else cap)
    while chunk := await body.chunk():
        data += chunk
        if len(data) > cap:
            raise TooManyBytes.of(most if pictures else cap)
    return await service.on_pool(partial(_object, data))


def _object(data: bytearray) -> dict[str, Any]:
    # An order is a handful of members; what has many marks would cost as much as it likes to parse.
    if sum(data.count(mark) for mark in b",:[{") > _MOST_MARKS:
        raise MalformedBody("The JSON body has too many members")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedBody("The request body is not the JSON that its Content-Type says") from None
    if not isinstance(found, dict):
        raise MalformedBody("The JSON body is not an object")
    return found


def text_member(body: Mapping[str, Any], name: str, path: str = "") -> str | None:
    """A member that is text; null and the empty string are absent.

    Raises:
        InvalidOption: it is something else, or longer than 8 KiB.
    """
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _is_unicode(value):
        raise InvalidOption(path + name, "text")
    return value


def object_member(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; one that is not there is empty.

    Raises:
        InvalidOption: it is something else.
    """
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidOption(name, "an object")
    return value


def read_members(body: Mapping[str, Any], table: Table, path: str) -> dict[str, Any]:
    """What the members that the table knows say together; the others mean nothing here.

    Raises:
        InvalidOption: one is outside its grammar or range; named with ``path`` before it.
    """
    parsed: dict[str, Any] = {}
    for name, field in table.items():
        value = body.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int | float):
            raise InvalidOption(path + name, "text, a number or a boolean")
        try:
            parsed |= field.read(name, str(value))
        except InvalidOption as exc:
            raise InvalidOption(path + name, exc.expected) from None
    return parsed


async def picture(service: Service, text: str | None, field: str) -> dict[str, Any]:
    """``url`` or ``data`` of a ``Wanted``, from an address or a ``data:`` URL.

    Raises:
        MissingImage, InvalidOption, TooManyBytes: there is none, or it is no picture in base64.
    """
    if text is None:
        raise MissingImage(f"Send the picture's address in '{field}'")
    if not is_data_url(text):
        return {"url": text}
    inside = partial(data_url, text, field=field, max_bytes=service.settings.max_bytes)
    return {"data": await service.on_pool(inside)}


def timestamp(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def operation(
    verb: str, summary: str, tag: str, answers: dict[str, Any], dialect: Dialect, statuses: Mapping[str, str],
    body: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A route of a dialect, for the OpenAPI document.

    Args:
        statuses: what is refused with, and why.
        body: by content type, of a request.
    """
    found: dict[str, Any] = {
        "summary": summary,
        "tags": [tag],
        "parameters": [],
        "responses": {status: refused(why, dialect) for status, why in statuses.items()} | answers,
        "security": [{}, {"apiKey": []}, {"bearer": []}, {"basic": []}],
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": {kind: {"schema": each} for kind, each in body.items()}}
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        about = "The same order under the same key is one job."
        found["parameters"].append({"name": "Idempotency-Key", "in": "header", "description": about, "schema": schema})
    else:
        found["parameters"].append({"name": "id", "in": "path", "required": True, "schema": TEXT})
    return {verb: found}


CREATE_STATUSES = {
    "400": "One or more parameters are invalid", "401": "Invalid or missing API key", "402": "Insufficient credits",
    "403": "Permission denied", "404": "Jobs are off on this server", "405": "Method not allowed on this route",
    "408": "The request body did not arrive in time",
    "422": "The Idempotency-Key came with another order before", "429": "Rate limit exceeded",
    "500": "Internal server error", "503": "Service temporarily unavailable",
    "504": "The request could not be finished in time",
}  # fmt: skip
READ_STATUSES = {
    "401": "Invalid or missing API key", "403": "Permission denied", "404": "No such job; Jobs are off on this server",
    "405": "Method not allowed on this route", "500": "Internal server error",
    "503": "Service temporarily unavailable", "504": "The request could not be finished in time",
}  # fmt: skip


def _fingerprint(path: str, wanted: Wanted) -> str:
    picture = hashlib.sha256(wanted.data).hexdigest() if wanted.data is not None else wanted.url
    words = (path, wanted.options, wanted.field, picture, wanted.webhook, wanted.model, wanted.moderate)
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _base(request: Request) -> str:
    """Where the caller reached us; a Host header that is none is not said again."""
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else "http://localhost"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate out of a JSON escape
        return False
    return True
