"""One cut-out over HTTP in any dialect: admit, take a slot, read, reserve, run, charge, respond."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.access.replay import Kept
from app.errors import ImageError, MethodNotAllowed, Starting
from app.pipeline import Answer, Job, Result
from app.service import Service
from app.web.addresses import fetch_files
from app.web.entry import bind_fetched, count_pixels, enter, reserve
from app.web.exchange import Exchange
from app.web.facts import log_facts
from app.web.upload import Intake, Upload, read_upload


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that has its pixels, for its dialect to put into words."""

    exchange: Exchange
    accept: str
    upload: Upload
    job: Job
    ignored: list[str]
    """Names of the fields that mean nothing here."""
    result: Result

    @property
    def answer(self) -> Answer:
        """The one output, or the first."""
        return self.result.answers[0]


@dataclass(frozen=True, slots=True)
class Operation:
    """A dialect's way to ask for a cut-out and to be answered."""

    intake: Intake
    read_job: Callable[[Upload], tuple[Job, list[str]]]
    """(what is asked for, names of the fields that mean nothing here); raises InputError."""
    respond: Callable[[Finished], Awaitable[Response]]


_ENGINES = {"image": "image_file", "bg_image": "bg_image"}
"""What the engine calls the field of each file that can have an address."""


async def cut_out(service: Service, request: Request, operation: Operation) -> Response:
    """Answer one request.

    Raises:
        ClearcutError: it is refused, or its client left.
    """
    exchange = Exchange.of(request)
    trace = exchange.trace
    if request.method == "HEAD":  # a charge needs a response body
        raise MethodNotAllowed("GET, POST")
    service.lifecycle.admit()
    pipeline = service.pipeline
    if pipeline is None:
        raise Starting
    account = await enter(service, request)
    place = exchange.place = exchange.held.enter_context(service.slots.enter(exchange.body))
    with trace.stage("read"):
        upload = await read_upload(
            request.headers,
            request.scope["query_string"],
            exchange.body,
            service.settings.max_bytes,
            operation.intake,
            service.on_pool,
            fetching=service.fetcher is not None,
        )
    place.claim()
    # What is fetched is fetched for who has the credits and no answer yet; what came with the request is read first.
    read = None if upload.addresses else operation.read_job(upload)
    charge = await reserve(service, request, account, upload)
    if charge is not None and (kept := service.replays.get(charge.key_id, charge.id)) is not None:
        return _again(kept)
    if service.fetcher is not None and upload.addresses:
        with service.fetch_shares.enter(account.id if account is not None else ""):
            await exchange.while_connected(fetch_files(service.fetcher, upload, trace))
        await bind_fetched(service, charge, upload)
    job, ignored = read or operation.read_job(upload)
    sources = {role: name for role, (name, _) in upload.addresses.items()}

    count = service.access.quotas.megapixels(account)

    async def measured(pixels: int) -> None:
        await count_pixels(exchange, count, pixels)

    async def work() -> tuple[Result, Response]:
        try:
            result = await pipeline.remove(job, trace, measured)
        except ImageError as exc:  # the engine's names for the files' fields are Poof's
            own = {"image_file": operation.intake.main} | {_ENGINES[role]: name for role, name in sources.items()}
            raise exc.about(own.get(exc.field or "", exc.field or "")) from None
        accept = request.headers.get("accept", "")
        return result, await operation.respond(Finished(exchange, accept, upload, job, ignored, result))

    result, response = await exchange.while_connected(work())
    service.count(result, len(upload.image))
    exchange.format = result.answers[0].image.format
    exchange.facts |= log_facts(result)
    response.headers["X-Credits-Charged"] = str(charge.cost if charge is not None else 0)
    if charge is not None and charge.idempotent and service.replays.fits(len(response.body)):
        body = await service.on_pool(lambda: bytes(response.body))
        kept = Kept(response.status_code, tuple(response.raw_headers), body)
        service.replays.keep(charge.key_id, charge.id, kept)
    return response


def _again(kept: Kept) -> Response:
    """The answer that was given before, byte for byte; it costs nothing."""
    response = Response(kept.body, kept.status)
    response.raw_headers = list(kept.headers)
    response.headers["X-Credits-Charged"] = "0"
    response.headers["Idempotent-Replayed"] = "true"
    return response
