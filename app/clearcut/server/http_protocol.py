"""Limits of the HTTP protocol that uvicorn does not have: head size, slow senders and slow readers.

uvicorn limits neither the size of a request's head nor the time for it, has no timeout for a client that does not read
its response, and answers invalid HTTP in text/plain. These cases occur outside the application, so the protocol class
handles them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from clearcut.errors import BadRequest, ClearcutError, HeadTimeout, HeadTooLarge
from clearcut.service import Service
from clearcut.web.apis.base import Dialect, dialect_for_path
from clearcut.web.app import DIALECTS
from clearcut.web.context import SECURITY_HEADERS, request_id
from clearcut.web.error_response import UNREAD_BODIES

from .discard_timer import DiscardTimer
from .send_rate_timer import SendRateTimer

log = logging.getLogger("clearcut")

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_PIPELINED = 100
"""Maximum number of requests that wait on one connection. uvicorn has no limit."""

_UPGRADE_HEADERS = (b"connection", b"upgrade", b"http2-settings")


def protocol_class(service: Service) -> type[HttpToolsProtocol]:
    """Return the protocol class of a service, with its timeout and its metrics."""
    timeout_s = service.settings.body_stall_s

    class LimitedProtocol(HttpToolsProtocol):
        """uvicorn's httptools protocol with limits on the head and timers in both directions."""

        _head_bytes: int | None = 0
        """Received bytes of the head; None between the end of a head and the start of the next one."""
        _framing_bytes = 0
        """Received bytes since the last piece of head or body that belong to neither: chunk extensions, trailers."""
        _timer: asyncio.TimerHandle | None = None
        _discard_timer: DiscardTimer
        """Runs while the rest of a request body is dropped after the response."""
        _send_timer: SendRateTimer
        """Runs while the transport's buffer is full."""
        _close_after_body = False
        """Whether the connection closes at the end of the dropped body, because the server is shutting down."""
        _rejected = False
        _current_cycle: RequestResponseCycle | None = None
        _data = b""
        """The data that the parser processes."""

        # uvicorn narrows the signature of asyncio in the same way.
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            self._discard_timer = DiscardTimer(self.loop, timeout_s, service.settings.deadline_s, transport.close)
            self._send_timer = SendRateTimer(self.loop, transport, timeout_s, self._abort_slow_reader)
            self._timer = self.loop.call_later(timeout_s, self._head_timeout)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timers()
            # uvicorn notifies only the newest request of the connection, not the one that is being processed.
            if self._current_cycle is not None and not self._current_cycle.response_complete:
                self._current_cycle.disconnected = True
                self._current_cycle.message_event.set()
            super().connection_lost(exc)

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            self._current_cycle = cycle
            super()._start_asgi_task(cycle, app)

        def data_received(self, data: bytes) -> None:
            if self._rejected:
                return
            if self._head_bytes is not None:
                self._head_bytes += len(data)
                # An incomplete head arrives in pieces: all earlier pieces count.
                if self._head_bytes - len(data) > MAX_HEAD_BYTES:
                    self._reject(HeadTooLarge(MAX_HEAD_BYTES))
                    return
            else:
                self._framing_bytes += len(data)
                self._discard_timer.chunk_received()
            self._data = data
            super().data_received(data)
            self._data = b""
            if self._head_bytes is None and self._framing_bytes > MAX_HEAD_BYTES:
                self._reject(HeadTooLarge(MAX_HEAD_BYTES))
            elif self._head_bytes and self._timer is None and self.cycle is not None and self.cycle.response_complete:
                # Empty lines before the next head. uvicorn stops its own timer at any byte.
                self._timer = self.loop.call_later(timeout_s, self._head_timeout)

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._head_bytes is not None:  # ignore trailers: they could repeat headers that a proxy removes
                super().on_header(name, value)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._unset_keepalive_if_required()
            self._head_bytes = self._head_bytes or 0
            if self._timer is None:
                self._timer = self.loop.call_later(timeout_s, self._head_timeout)

        def on_headers_complete(self) -> None:
            if self._rejected or self._offers_upgrade():  # rejected: further requests in the same data
                return
            self._head_bytes, self._framing_bytes = None, 0
            self._stop_timer()
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
                self._reject(HeadTooLarge(MAX_HEAD_BYTES))
                return
            if self._keeps_connection():
                self.scope["extensions"] = {UNREAD_BODIES: {}}
            super().on_headers_complete()
            if len(self.pipeline) > MAX_PIPELINED:
                self._reject(BadRequest(f"More than {MAX_PIPELINED} requests wait on this connection"))

        def on_body(self, body: bytes) -> None:
            self._framing_bytes = 0
            if not self._rejected:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if self._offers_upgrade():
                return
            self._head_bytes = 0
            self._stop_timer()
            if self._rejected:
                return
            super().on_message_complete()
            if self._discard_timer.running:
                self._discard_timer.stop()
                self._start_keep_alive()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._head_bytes is None and self.cycle.response_complete and not self.transport.is_closing():
                self._unset_keepalive_if_required()
                self._discard_timer.start()

        def _start_keep_alive(self) -> None:
            """Wait for the next request after a dropped body. uvicorn starts its timer only after a response."""
            if self._close_after_body:
                self.transport.close()
                return
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

        def shutdown(self) -> None:
            if self._discard_timer.running:  # a closed connection could lose the response
                self._close_after_body = True
            else:
                super().shutdown()

        def _keeps_connection(self) -> bool:
            """Return whether the connection can stay open after a response to a request with an unread body.

            It cannot if the client expects 100 Continue: after an error, some clients send the body and others do not,
            so the start of the next request is unknown.
            """
            keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            return keep_alive and not self.expect_100_continue

        def _offers_upgrade(self) -> bool:
            return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

        def _unsupported_upgrade_warning(self) -> None:
            """Ignore an upgrade: parse the head again without it.

            The parser stops after the head of a request with an upgrade and reads no body. Java's HTTP client and
            ``curl --http2`` offer an upgrade with each request.
            """
            stopped = sys.exc_info()[1]
            if self._rejected or not self._offers_upgrade() or not isinstance(stopped, httptools.HttpParserUpgrade):
                return
            version = self.parser.get_http_version().encode()
            lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
            lines += [name + b": " + value for name, value in self.headers if name not in _UPGRADE_HEADERS]
            if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
                lines.append(b"connection: close")
            self.parser = httptools.HttpRequestParser(self)
            remaining = self._data[stopped.args[0] :]
            self._head_bytes = 0
            self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + remaining)

        def send_400_response(self, msg: str) -> None:
            self._reject(BadRequest("The request is not valid HTTP/1.1"))

        def pause_writing(self) -> None:
            super().pause_writing()
            self._send_timer.start()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._send_timer.stop()

        def _head_timeout(self) -> None:
            self._timer = None
            if self._head_bytes:
                self._reject(HeadTimeout(f"The head of the request did not arrive within {timeout_s:g} s"))
            else:
                self.transport.close()  # no request has started: there is nothing to respond to

        def _abort_slow_reader(self) -> None:
            log.info("response not read", extra={"fields": {"seconds": timeout_s}})
            service.metrics.cancelled.labels("send").inc()
            self.transport.abort()

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _stop_timers(self) -> None:
            self._stop_timer()
            self._discard_timer.stop()
            self._send_timer.stop()

        def _reject(self, error: ClearcutError) -> None:
            """Send an error in place of the application and close the connection.

            The received part of the path selects the dialect of the error.
            """
            if self._rejected or self.transport.is_closing():
                return
            self._rejected = True
            self._stop_timers()
            id_ = request_id({name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers or ()})
            dialect = dialect_for_path(getattr(self, "url", b"").decode("latin-1"), DIALECTS)
            if self._may_respond():
                self.transport.write(_error_response(error, id_, dialect))
            self.transport.close()
            service.metrics.requests.labels("none", str(error.status), error.code, "none").inc()
            fields: dict[str, Any] = {"request_id": id_, "status": error.status, "reason": error.reason}
            log.info("request", extra={"fields": fields})

        def _may_respond(self) -> bool:
            """Return whether the client would take data written now as the response to the rejected request."""
            if self.cycle is None:
                return True
            if self.pipeline or (self._head_bytes is None and self.cycle.response_complete):
                return False
            return self.cycle.response_complete or not self.cycle.response_started

    return LimitedProtocol


def _error_response(error: ClearcutError, id_: str, dialect: Dialect) -> bytes:
    payload = json.dumps(dialect.error_body(error, id_)).encode()
    phrases = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
    guards = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())
    head = (
        f"HTTP/1.1 {error.status} {phrases[error.status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nX-Request-ID: {id_}\r\n{guards}Connection: close\r\n\r\n"
    )
    return head.encode() + payload
