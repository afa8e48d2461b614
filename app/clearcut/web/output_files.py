"""``GET /outputs/{key}``: an output of a job, by its signed URL. Ranges and ETags as in RFC 9110."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from clearcut.errors import InvalidSignature, OutputExpired, OutputNotFound, Overloaded, RangeNotSatisfiable
from clearcut.imaging.formats.registry import EXTENSIONS, OUTPUT_MEDIA_TYPES
from clearcut.service import Service
from clearcut.storage.base import BlobStat
from clearcut.storage.signed_urls import verify
from clearcut.web.apis.poof import DIALECT

from .context import RequestContext
from .json_schema import INTEGER, TEXT
from .openapi import FILE, error_response, get_operation

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,18})[ \t]*-[ \t]*(\d{0,18})[ \t]*", re.IGNORECASE)


def routes(service: Service) -> list[Route]:
    async def output(request: Request) -> Response:
        outputs = service.outputs
        if outputs is None:
            raise OutputNotFound("This service stores no outputs")
        key, query, now = request.path_params["key"], request.query_params, time.time()
        verify(key, query.get("expires", ""), query.get("signature", ""), outputs.secrets, now)
        context = RequestContext.of(request)
        context.resources.enter_context(service.downloads.enter())
        try:
            stat = await asyncio.to_thread(outputs.store.stat, key)
            headers = _headers(stat, now)
            if _matches(request.headers.get("if-none-match", ""), stat.etag):
                return Response(status_code=304, headers=headers)
            part = None
            if request.headers.get("if-range", f'"{stat.etag}"') == f'"{stat.etag}"':
                part = byte_range(request.headers.get("range", ""), stat.size)
            start, end = part or (0, stat.size)
            headers |= {"Content-Type": stat.media_type, "Content-Length": str(end - start)}
            if part is not None:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{stat.size}"
            status = 206 if part is not None else 200
            if request.method == "HEAD":
                return Response(status_code=status, headers=headers)
            chunks = await asyncio.to_thread(outputs.store.open_range, key, start, end)
        except KeyError:
            raise OutputNotFound("The output was deleted or never existed") from None
        context.log_fields |= {"media_type": stat.media_type, "bytes_out": end - start}
        return _StreamedResponse(chunks, status, headers)

    return [Route("/outputs/{key}", output, methods=["GET"])]


def openapi_paths() -> dict[str, Any]:
    file = {kind: {"schema": FILE} for kind in OUTPUT_MEDIA_TYPES}
    headers = {name: {"schema": TEXT} for name in ("ETag", "Accept-Ranges", "Content-Disposition")}
    responses: dict[str, Any] = {
        "200": {"description": "The output", "headers": headers, "content": file},
        "206": {"description": "The range of bytes in the Range header", "headers": headers, "content": file},
        "304": {"description": "The client has this output (If-None-Match)"},
    }
    for cls in (InvalidSignature, OutputNotFound, OutputExpired, RangeNotSatisfiable, Overloaded):
        responses[str(cls.status)] = error_response(cls.message, DIALECT)
    item = get_operation("Get an output of a job by its signed URL", "Outputs", DIALECT, responses, keyed=False)
    item["get"]["parameters"] = [
        {"name": "key", "in": "path", "required": True, "schema": TEXT},
        {"name": "expires", "in": "query", "description": "Expiry of the URL, in Unix seconds.", "schema": INTEGER},
        {"name": "signature", "in": "query", "schema": TEXT},
        {"name": "Range", "in": "header", "description": "One range of bytes.", "schema": TEXT},
    ]
    return {"/outputs/{key}": item}


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Parse a Range header.

    Args:
        size: of the file in bytes.

    Returns:
        (first byte, byte after the last); None for the whole file: without a range, with several or a malformed one.

    Raises:
        RangeNotSatisfiable: the range starts after the end of the file.
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last bytes of the file
        length = int(found[2])
        if length == 0 or size == 0:
            raise RangeNotSatisfiable(size)
        return max(0, size - length), size
    first, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable(size)
    return first, min(last + 1, size)


def _headers(stat: BlobStat, now: float) -> dict[str, str]:
    """Return the headers of all responses except errors. They prevent scripts in the file."""
    return {
        "ETag": f'"{stat.etag}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={max(0, int(stat.expires_at - now))}",
        "Content-Disposition": f'inline; filename="cutout.{EXTENSIONS.get(stat.media_type, "bin")}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _matches(header: str, etag: str) -> bool:
    """Return whether If-None-Match contains the ETag, by weak comparison."""
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or f'"{etag}"' in tags


class _StreamedResponse(Response):
    """A response with a body that a thread reads while it is sent."""

    def __init__(self, chunks: Iterator[bytes], status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while (chunk := await asyncio.to_thread(next, self._chunks, b"")) != b"":
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
