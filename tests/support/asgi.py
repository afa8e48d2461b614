"""Requests as raw ASGI messages, for clients that disconnect or stop sending."""

from __future__ import annotations

import asyncio


async def send_messages(on, messages, headers=(), path="/v1/remove", extensions=()):
    """Call the application with these ASGI messages and return the messages that it sends.

    A message can be an async function that returns the message. After the last message, ``receive`` waits forever.
    """
    sent, inbox = [], list(messages)

    async def receive():
        if not inbox:
            await asyncio.Event().wait()
        message = inbox.pop(0)
        return await message() if callable(message) else message

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path,
        "raw_path": path.encode(), "query_string": b"", "headers": list(headers), "scheme": "http",
        "server": ("test", 80), "client": ("127.0.0.1", 1), "root_path": "", "extensions": dict(extensions),
    }  # fmt: skip
    await on.app(scope, receive, send)
    return sent


PNG = (b"content-type", b"image/png")


def chunk(data, more=True):
    """Return the ASGI message for a part of a request body."""
    return {"type": "http.request", "body": data, "more_body": more}
