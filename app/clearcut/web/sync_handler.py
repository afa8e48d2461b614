"""One cut-out over HTTP in any dialect: admit, take a slot, read, reserve, run, charge, respond."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from clearcut.accounts.idempotency import CachedResponse
from clearcut.errors import ImageError, MethodNotAllowed, Starting
from clearcut.pipeline import CutoutOutput, CutoutRequest, CutoutResult
from clearcut.service import Service
from clearcut.web.request.fetch_files import fetch_files
from clearcut.web.request.upload import Upload, UploadSchema, read_upload

from .auth import admit, bind_fetched, count_pixels, reserve
from .context import RequestContext
from .responses import log_fields


@dataclass(frozen=True, slots=True)
class FinishedCutout:
    """A request that has its pixels, for its dialect to put into words."""

    exchange: RequestContext
    accept: str
    upload: Upload
    job: CutoutRequest
    ignored: list[str]
    """Names of the fields that mean nothing here."""
    result: CutoutResult

    @property
    def answer(self) -> CutoutOutput:
        """The one output, or the first."""
        return self.result.answers[0]


@dataclass(frozen=True, slots=True)
class SyncOperation:
    """A dialect's way to ask for a cut-out and to be answered."""

    intake: UploadSchema
    read_job: Callable[[Upload], tuple[CutoutRequest, list[str]]]
    """(what is asked for, names of the fields that mean nothing here); raises InputError."""
    respond: Callable[[FinishedCutout], Awaitable[Response]]


_ENGINES = {"image": "image_file", "bg_image": "bg_image"}
"""What the engine calls the field of each file that can have an address."""


async def handle_cutout(service: Service, request: Request, operation: SyncOperation) -> Response:
    """Answer one request.

    Raises:
        ClearcutError: it is refused, or its client left.
    """
    exchange = RequestContext.of(request)
    trace = exchange.trace
    if request.method == "HEAD":  # a charge needs a response body
        raise MethodNotAllowed("GET, POST")
    service.lifecycle.admit()
    pipeline = service.pipeline
    if pipeline is None:
        raise Starting
    account = await admit(service, request)
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
    if charge is not None and (kept := service.idempotency_cache.get(charge.key_id, charge.id)) is not None:
        return _again(kept)
    if service.fetcher is not None and upload.addresses:
        with service.fetch_shares.enter(account.id if account is not None else ""):
            await exchange.while_connected(fetch_files(service.fetcher, upload, trace))
        await bind_fetched(service, charge, upload)
    job, ignored = read or operation.read_job(upload)
    sources = {role: name for role, (name, _) in upload.addresses.items()}

    count = service.accounts.quotas.megapixels(account)

    async def measured(pixels: int) -> None:
        await count_pixels(exchange, count, pixels)

    async def work() -> tuple[CutoutResult, Response]:
        try:
            result = await pipeline.remove(job, trace, measured)
        except ImageError as exc:  # the engine's names for the files' fields are Poof's
            own = {"image_file": operation.intake.main} | {_ENGINES[role]: name for role, name in sources.items()}
            raise exc.about(own.get(exc.field or "", exc.field or "")) from None
        accept = request.headers.get("accept", "")
        return result, await operation.respond(FinishedCutout(exchange, accept, upload, job, ignored, result))

    result, response = await exchange.while_connected(work())
    service.count(result, len(upload.image))
    exchange.format = result.answers[0].image.format
    exchange.facts |= log_fields(result)
    response.headers["X-Credits-Charged"] = str(charge.cost if charge is not None else 0)
    if charge is not None and charge.idempotent and service.idempotency_cache.fits(len(response.body)):
        body = await service.on_pool(lambda: bytes(response.body))
        kept = CachedResponse(response.status_code, tuple(response.raw_headers), body)
        service.idempotency_cache.keep(charge.key_id, charge.id, kept)
    return response


def _again(kept: CachedResponse) -> Response:
    """The answer that was given before, byte for byte; it costs nothing."""
    response = Response(kept.body, kept.status)
    response.raw_headers = list(kept.headers)
    response.headers["X-Credits-Charged"] = "0"
    response.headers["Idempotent-Replayed"] = "true"
    return response
