"""Multipart bodies as ASGI messages, and the parser called with them."""

from __future__ import annotations

import asyncio

from clearcut.web.apis.poof import UPLOAD
from clearcut.web.request.body import Body
from clearcut.web.request.upload import read_upload

MAX = 100_000
FORM = {"content-type": "multipart/form-data; boundary=XX"}


def part(name, value, filename=None, extra=b""):
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return b"--XX\r\nContent-Disposition: " + disposition.encode() + b"\r\n" + extra + b"\r\n" + value + b"\r\n"


def form(*parts):
    return b"".join(parts) + b"--XX--\r\n"


def feed(chunks, *, end=True):
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False} if end else {"type": "http.disconnect"})
    messages.reverse()

    async def receive():
        return messages.pop()

    return receive


def read(content, headers=FORM, query=b"", *, step=1000, end=True, schema=UPLOAD):
    chunks = [content[at : at + step] for at in range(0, len(content), step)]
    body = Body(feed(chunks, end=end), 1.0, lambda: 1.0)
    return asyncio.run(read_upload(headers, query, body, MAX, schema))
