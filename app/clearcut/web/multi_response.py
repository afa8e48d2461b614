"""Several outputs in one response: multipart/mixed (RFC 2046), or a ZIP archive if the client accepts it."""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Sequence
from io import BytesIO

from starlette.responses import Response

from clearcut.cutout_types import CutoutResult

from .request.header_params import accepts
from .responses import output_headers


def multi_response(result: CutoutResult, headers: dict[str, str], accept: str) -> Response:
    """Return all outputs in the order of the variants, named ``cutout-1.png`` and so on.

    Args:
        accept: the Accept header; ``application/zip`` selects the ZIP archive.
    """
    names = [f"cutout-{number}.{output.image.format}" for number, output in enumerate(result.outputs, start=1)]
    if accepts(accept, "application/zip"):
        return Response(
            _zip(result, names),
            media_type="application/zip",
            headers=headers | {"Content-Disposition": 'inline; filename="cutouts.zip"'},
        )
    boundary = "clearcut-" + secrets.token_hex(16)
    body = bytearray()
    for output, name in zip(result.outputs, names, strict=True):
        part = {"Content-Type": output.image.media_type, "Content-Length": str(len(output.image.data))}
        part |= output_headers(output, name, "attachment")
        lines = [f"{key}: {value}" for key, value in part.items()]
        body += "\r\n".join([f"--{boundary}", *lines, "", ""]).encode()
        body += output.image.data
        body += b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return Response(memoryview(body), headers=headers | {"Content-Type": f"multipart/mixed; boundary={boundary}"})


def _zip(result: CutoutResult, names: Sequence[str]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for output, name in zip(result.outputs, names, strict=True):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), output.image.data)
    return buffer.getvalue()
