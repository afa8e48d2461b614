"""Synchronous requests of all dialects. ``handle_cutout`` reads as the admission steps of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from clearcut.accounts.idempotency import CachedResponse
from clearcut.accounts.keys import Account
from clearcut.accounts.types import Charge
from clearcut.admission.slots import RequestSlot
from clearcut.cutout_types import CutoutOutput, CutoutRequest, CutoutResult
from clearcut.errors import MethodNotAllowed, Starting
from clearcut.pipeline import Pipeline
from clearcut.service import Service
from clearcut.web.request.fetch_files import fetch_files
from clearcut.web.request.unused_fields import options_without_effect
from clearcut.web.request.upload import Upload, UploadSchema, read_upload

from .auth import authenticate
from .context import RequestContext
from .credits import check_credits, reserve
from .idempotency import bind_fetched
from .rate_limits import check_rate, count_pixels
from .responses import result_log_fields


@dataclass(frozen=True, slots=True)
class FinishedCutout:
    """A processed request, for the dialect's response."""

    context: RequestContext
    accept: str
    """The Accept header."""
    upload: Upload
    request: CutoutRequest
    ignored: list[str]
    """Fields without an effect."""
    result: CutoutResult

    @property
    def output(self) -> CutoutOutput:
        """The first output."""
        return self.result.outputs[0]


@dataclass(frozen=True, slots=True)
class SyncOperation:
    """The part of a synchronous operation that a dialect defines."""

    schema: UploadSchema
    parse_request: Callable[[Upload], tuple[CutoutRequest, list[str]]]
    """Returns (request, fields without an effect); raises InputError."""
    respond: Callable[[FinishedCutout], Awaitable[Response]]


class CutoutRoute(Route):
    """The route of a synchronous operation. For a POST request, the endpoint only calls ``handle_cutout``."""


def refuse_overload(service: Service, scope: Scope, routes: Mapping[str, CutoutRoute]) -> None:
    """Refuse a request that ``handle_cutout`` would refuse because all slots are in use, without calling it.

    During overload most requests are refused, so a refusal must cost little. While accounts are enabled, the key and
    the rate limits come first, and ``handle_cutout`` checks the slots.

    Args:
        routes: by path.

    Raises:
        Overloaded: all slots are in use.
    """
    if scope["method"] != "POST" or service.accounts.enabled or service.pipeline is None:
        return
    route = routes.get(scope["path"])
    if route is None or not service.lifecycle.ready:
        return
    scope["route"] = route  # for the metrics and the log line
    service.slots.require_available()


async def handle_cutout(service: Service, request: Request, operation: SyncOperation) -> Response:
    """Process one request.

    Raises:
        ClearcutError: the request is refused or fails, or the client disconnected.
    """
    context = RequestContext.of(request)
    if request.method == "HEAD":  # a charge needs a response body
        raise MethodNotAllowed("GET, POST")
    pipeline = _require_ready(service)
    account = await authenticate(service, request)
    await check_rate(service, request, account)
    await check_credits(service, request, account)
    slot = acquire_slot(service, context)
    upload = await _read_upload(service, request, operation.schema, slot)
    # Options are parsed before credits are reserved. A request with URLs gets its files only after the reservation.
    parsed = None if upload.urls else operation.parse_request(upload)
    if parsed is not None:
        pipeline.models.find(parsed[0].model)
    charge = await reserve(service, request, account, upload)
    if (cached := _cached_response(service, charge)) is not None:
        return cached
    await _fetch_inputs(service, context, account, upload, charge)
    cutout_request, ignored = parsed or operation.parse_request(upload)

    async def run() -> tuple[CutoutResult, Response]:
        result = await _run(service, pipeline, context, account, cutout_request)
        accept = request.headers.get("accept", "")
        unused = list(dict.fromkeys([*ignored, *options_without_effect(cutout_request, result)]))
        return result, await operation.respond(FinishedCutout(context, accept, upload, cutout_request, unused, result))

    result, response = await context.while_connected(run())
    _record(service, context, upload, result)
    response.headers["X-Credits-Charged"] = str(charge.cost if charge is not None else 0)
    await _cache_response(service, charge, response)
    return response  # the middleware charges before it sends the response


def acquire_slot(service: Service, context: RequestContext) -> RequestSlot:
    """Take a request slot until the response is sent.

    Raises:
        Overloaded: all slots are in use.
    """
    slot = context.slot = context.resources.enter_context(service.slots.enter(context.body))
    return slot


def _require_ready(service: Service) -> Pipeline:
    """Return the pipeline; raise Starting, Draining or Failed if the service is not ready."""
    service.lifecycle.admit()
    if service.pipeline is None:
        raise Starting
    return service.pipeline


async def _read_upload(service: Service, request: Request, schema: UploadSchema, slot: RequestSlot) -> Upload:
    context = RequestContext.of(request)
    with context.timing.stage("read"):
        upload = await read_upload(
            request.headers,
            request.scope["query_string"],
            context.body,
            service.settings.max_bytes,
            schema,
            service.on_pool,
            fetching=service.fetcher is not None,
        )
    slot.reacquire()
    context.field_names = upload.field_names
    return upload


async def _fetch_inputs(
    service: Service, context: RequestContext, account: Account | None, upload: Upload, charge: Charge | None
) -> None:
    """Fetch the files that the request gives by URL."""
    if service.fetcher is None or not upload.urls:
        return
    with service.fetch_shares.enter(account.id if account is not None else ""):
        await context.while_connected(fetch_files(service.fetcher, upload, context.timing))
    await bind_fetched(service, charge, upload)


async def _run(
    service: Service, pipeline: Pipeline, context: RequestContext, account: Account | None, request: CutoutRequest
) -> CutoutResult:
    count = service.accounts.quotas.megapixels(account)

    async def count_request_pixels(pixels: int) -> None:
        await count_pixels(context, count, pixels)

    return await pipeline.remove(request, context.timing, count_request_pixels)


def _record(service: Service, context: RequestContext, upload: Upload, result: CutoutResult) -> None:
    """Record a result for metrics and the log line."""
    service.count(result, len(upload.image))
    context.output_format = result.outputs[0].image.format
    context.log_fields |= result_log_fields(result)


def _cached_response(service: Service, charge: Charge | None) -> Response | None:
    """Return the response of an earlier request with the same Idempotency-Key. It costs nothing."""
    cached = service.idempotency_cache.get(charge.key_id, charge.id) if charge is not None else None
    if cached is None:
        return None
    response = Response(cached.body, cached.status)
    response.raw_headers = list(cached.headers)
    response.headers["X-Credits-Charged"] = "0"
    response.headers["Idempotent-Replayed"] = "true"
    return response


async def _cache_response(service: Service, charge: Charge | None, response: Response) -> None:
    """Cache the response of a request with an Idempotency-Key."""
    if charge is not None and charge.idempotent and service.idempotency_cache.fits(len(response.body)):
        body = await service.on_pool(lambda: bytes(response.body))
        cached = CachedResponse(response.status_code, tuple(response.raw_headers), body)
        service.idempotency_cache.put(charge.key_id, charge.id, cached)
