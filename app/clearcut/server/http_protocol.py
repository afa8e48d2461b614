"""What the HTTP server itself does not guard: heads without end, peers that never send, peers that never read.

uvicorn has no limit on a request's head, no timer for it and none for a response that is not taken, and answers broken
HTTP in text/plain. All of these come before or after our application, so they are mended in the protocol.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import struct
import sys
import termios
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from clearcut.errors import BadRequest, ClearcutError, HeadTimeout, HeadTooLarge
from clearcut.service import Service
from clearcut.web.apis.base import Dialect, dialect_for_path
from clearcut.web.app import DIALECTS
from clearcut.web.context import SECURITY_HEADERS, request_id

log = logging.getLogger("clearcut")

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_PIPELINED = 100
"""Requests behind the one in work on one connection; uvicorn keeps as many as come."""
MIN_SEND_BYTES_PER_S = 8 * 1024
"""A peer that reads a response more slowly than this is disconnected."""

_OF_UPGRADES = (b"connection", b"upgrade", b"http2-settings")


def protocol_class(service: Service) -> type[HttpToolsProtocol]:
    """The protocol class for one service: its patience, its metrics."""
    patience = service.settings.body_stall_s

    class Guarded(HttpToolsProtocol):
        """httptools' protocol with caps on the head and timers on both directions."""

        _head: int | None = 0
        """Bytes of the head so far; None between its end and the next one's beginning."""
        _bare = 0
        """Bytes since the head or the body's last piece that were neither: chunk extensions, trailers."""
        _timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None
        _unsent = 0
        """Bytes of the response that the peer had not acknowledged when ``_write_timer`` was started."""
        _refused = False
        _in_work: RequestResponseCycle | None = None
        _data = b""
        """What is being taken apart."""

        # uvicorn narrows asyncio's own signature in the same way.
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._timer = self.loop.call_later(patience, self._too_slow)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timers()
            # uvicorn tells only the newest request of the connection, and not the one in work before it.
            if self._in_work is not None and not self._in_work.response_complete:
                self._in_work.disconnected = True
                self._in_work.message_event.set()
            super().connection_lost(exc)

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            self._in_work = cycle
            super()._start_asgi_task(cycle, app)

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            if self._head is not None:
                self._head += len(data)
                # Half a head in pieces: what came before has not ended, so all of it counts.
                if self._head - len(data) > MAX_HEAD_BYTES:
                    self._refuse(HeadTooLarge(MAX_HEAD_BYTES))
                    return
            else:
                self._bare += len(data)
            self._data = data
            super().data_received(data)
            self._data = b""
            if self._head is None and self._bare > MAX_HEAD_BYTES:
                self._refuse(HeadTooLarge(MAX_HEAD_BYTES))
            elif self._timer is None and self.cycle is not None and self.cycle.response_complete:
                # No head yet, or a body that nobody waits for. uvicorn stops its own timer at any byte.
                self._timer = self.loop.call_later(patience, self._too_slow)

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._head is not None:  # trailers are no headers: what a proxy sees to could come back in them
                super().on_header(name, value)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._head = self._head or 0
            if self._timer is None:
                self._timer = self.loop.call_later(patience, self._too_slow)

        def on_headers_complete(self) -> None:
            if self._refused or self._offers_upgrade():  # refused: further requests of the same piece
                return
            self._head, self._bare = None, 0
            self._stop_timer()
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
                self._refuse(HeadTooLarge(MAX_HEAD_BYTES))
                return
            super().on_headers_complete()
            if len(self.pipeline) > MAX_PIPELINED:
                self._refuse(BadRequest(f"More than {MAX_PIPELINED} requests wait on this connection"))

        def on_body(self, body: bytes) -> None:
            self._bare = 0
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if self._offers_upgrade():
                return
            self._head = 0
            self._stop_timer()
            if not self._refused:
                super().on_message_complete()

        def _offers_upgrade(self) -> bool:
            return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

        def _unsupported_upgrade_warning(self) -> None:
            """Decline an upgrade: the parser has stopped behind the head, and takes no body for one.

            Java's HTTP client and ``curl --http2`` offer one with every request. The head is read again without it.
            """
            stopped = sys.exc_info()[1]
            if self._refused or not self._offers_upgrade() or not isinstance(stopped, httptools.HttpParserUpgrade):
                return
            version = self.parser.get_http_version().encode()
            lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
            lines += [name + b": " + value for name, value in self.headers if name not in _OF_UPGRADES]
            if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
                lines.append(b"connection: close")
            self.parser = httptools.HttpRequestParser(self)
            rest = self._data[stopped.args[0] :]
            self._head = 0
            self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

        def send_400_response(self, msg: str) -> None:
            self._refuse(BadRequest("The request is not valid HTTP/1.1"))

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_sending()

        def _watch_sending(self) -> None:
            self._unsent = _unsent_bytes(self.transport)
            self._write_timer = self.loop.call_later(patience, self._check_sending)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def _too_slow(self) -> None:
            self._timer = None
            if self._head:
                self._refuse(HeadTimeout(f"The request's head did not arrive within {patience:g} s"))
            else:
                self.transport.close()  # nothing was asked: nothing is answered

        def _check_sending(self) -> None:
            if self._unsent - _unsent_bytes(self.transport) >= MIN_SEND_BYTES_PER_S * patience:
                self._watch_sending()
                return
            log.info("answer not read", extra={"fields": {"seconds": patience}})
            service.metrics.cancelled.labels("send").inc()
            self.transport.abort()

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _stop_timers(self) -> None:
            self._stop_timer()
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def _refuse(self, error: ClearcutError) -> None:
            """Answer in place of the application, in the dialect of the path as far as that has come, and close."""
            if self._refused or self.transport.is_closing():
                return
            self._refused = True
            self._stop_timers()
            own = request_id({name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers or ()})
            dialect = dialect_for_path(getattr(self, "url", b"").decode("latin-1"), DIALECTS)
            if self._may_answer():
                self.transport.write(_answer(error, own, dialect))
            self.transport.close()
            service.metrics.requests.labels("none", str(error.status), error.code, "none").inc()
            fields: dict[str, Any] = {"request_id": own, "status": error.status, "reason": error.reason}
            log.info("request", extra={"fields": fields})

        def _may_answer(self) -> bool:
            """Whether what is written now is taken for the answer to what was asked, and not for part of another."""
            if self.cycle is None:
                return True
            if self.pipeline or (self._head is None and self.cycle.response_complete):
                return False
            return self.cycle.response_complete or not self.cycle.response_started

    return Guarded


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """Bytes that the peer has not acknowledged, the kernel's send queue included (``SIOCOUTQ``, tcp(7)).

    The transport's own buffer alone stands still while the kernel sends megabytes of its queue.
    """
    try:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # not Linux
        return transport.get_write_buffer_size()
    return transport.get_write_buffer_size() + int(struct.unpack("i", queued)[0])


def _answer(error: ClearcutError, own: str, dialect: Dialect) -> bytes:
    payload = json.dumps(dialect.error_body(error, own)).encode()
    phrases = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
    guards = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())
    head = (
        f"HTTP/1.1 {error.status} {phrases[error.status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nX-Request-ID: {own}\r\n{guards}Connection: close\r\n\r\n"
    )
    return head.encode() + payload
