"""Several outputs of one request in one answer: multipart/mixed (RFC 2046), or a ZIP for who asks for one."""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Sequence
from io import BytesIO

from starlette.responses import Response

from clearcut.cutout import CutoutResult

from .responses import output_headers


def bundle(result: CutoutResult, headers: dict[str, str], accept: str) -> Response:
    """All answers in the order of the variants, named ``cutout-1.png`` and so on."""
    names = [f"cutout-{number}.{answer.image.format}" for number, answer in enumerate(result.outputs, start=1)]
    if "application/zip" in accept:
        return Response(
            _zip(result, names),
            media_type="application/zip",
            headers=headers | {"Content-Disposition": 'inline; filename="cutouts.zip"'},
        )
    boundary = "clearcut-" + secrets.token_hex(16)
    body = bytearray()
    for answer, name in zip(result.outputs, names, strict=True):
        own = {"Content-Type": answer.image.media_type, "Content-Length": str(len(answer.image.data))}
        lines = [f"{key}: {value}" for key, value in (own | output_headers(answer, name, "attachment")).items()]
        body += "\r\n".join([f"--{boundary}", *lines, "", ""]).encode()
        body += answer.image.data
        body += b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return Response(memoryview(body), headers=headers | {"Content-Type": f"multipart/mixed; boundary={boundary}"})


def _zip(result: CutoutResult, names: Sequence[str]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for answer, name in zip(result.outputs, names, strict=True):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), answer.image.data)
    return out.getvalue()
