"""The server process: uvicorn, signals and shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn

from clearcut import __version__
from clearcut.errors import StartupError
from clearcut.lifecycle import State
from clearcut.ports import describe_listen_error, describe_metrics_error
from clearcut.service import Service, build
from clearcut.settings import Settings
from clearcut.web.app import create_app, create_metrics_app

from .http_protocol import protocol_class

log = logging.getLogger("clearcut")

SOCKET_FLUSH_S = 2
"""Time for uvicorn to send the data that is left in sockets, seconds. All responses are complete before that."""
OnListening = Callable[[int, Mapping[str, object]], None]
"""Gets the port and the labels of the model."""
BACKLOG = 256
"""Connections that wait to be accepted. A longer backlog would hide overload from clients and load balancers."""


class Server(uvicorn.Server):
    """uvicorn with a shutdown that load balancers can follow.

    uvicorn closes its listener first and then waits, so a load balancer never receives 503 from ``/readyz``. Here the
    first SIGTERM or SIGINT starts the drain, and the listener closes when all accepted requests are finished. A second
    signal, or the drain timeout, ends the process with exit code 1.
    """

    def __init__(self, config: uvicorn.Config, service: Service, on_listening: OnListening | None = None) -> None:
        """
        Args:
            on_listening: called when the service accepts requests.
        """
        super().__init__(config)
        self.service = service
        self.exit_code = 0
        self._on_listening = on_listening
        self._bound = asyncio.Event()
        self._draining = asyncio.Event()
        self._force = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would store the signal and raise it again after the shutdown, and a clean exit would look like a kill.
        if self._loop is None or self._draining.is_set():
            self.exit_code = 1
            self.force_exit = self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe((self._force if self._draining.is_set() else self._draining).set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        uvicorn_log = logging.getLogger("uvicorn.error")
        uvicorn_log.disabled = True  # it would log the same failure a second time
        try:
            await super().startup(sockets)
        except SystemExit as exc:  # uvicorn cannot listen; the context is the reason
            raise StartupError(describe_listen_error(self.config.host, self.config.port, exc.__context__)) from None
        finally:
            uvicorn_log.disabled = False
        for server in self.servers:
            _log_address("starting", server)  # requests get 503 until the model is verified
        if self.service.settings.metrics_port is not None:
            await self._listen_for_metrics(self.service.settings.metrics_host, self.service.settings.metrics_port)
        self._bound.set()

    async def _listen_for_metrics(self, host: str, port: int) -> None:
        """Add a listener for the metrics, with the same limits and the same shutdown."""
        config = _config(create_metrics_app(self.service), host, port, self.service)
        config.load()

        # uvicorn types the protocol class as a plain asyncio.Protocol without arguments.
        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn's arguments
                config=config, server_state=self.server_state, app_state={}
            )

        try:
            server = await asyncio.get_running_loop().create_server(protocol, host, port, backlog=BACKLOG)
        except OSError as exc:
            for listener in self.servers:
                listener.close()
            raise StartupError(describe_metrics_error(host, port, exc)) from None
        self.servers.append(server)
        _log_address("listening for metrics", server)

    async def run_service(self) -> int:
        """Serve until a signal and return the exit code of the process."""
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self.serve())
        starting = asyncio.create_task(self.service.start())
        drain = asyncio.create_task(self._draining.wait())
        failed = asyncio.create_task(self.service.failed.wait())
        bound = asyncio.create_task(self._bound.wait())
        try:
            await asyncio.wait({serving, starting, drain, failed}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await asyncio.wait({serving, bound, drain, failed}, return_when=asyncio.FIRST_COMPLETED)
                if bound.done():
                    self._announce()
                await asyncio.wait({serving, drain, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                self.exit_code = 1
            elif drain.done():
                await self._drain()
        except StartupError as exc:
            print(f"clearcut: refusing to start: {exc}", file=sys.stderr)  # noqa: T201 - command line output
            self.exit_code = 1
        finally:
            for task in (starting, drain, failed, bound):
                task.cancel()
            await self.service.stop()
            self.should_exit = True
            try:
                await serving
            finally:
                await self.service.flush_traces()
        return self.exit_code

    def _announce(self) -> None:
        """Report that the service accepts requests. The listener of the metrics has its own log line."""
        # Present objects are needed until the process ends, so later garbage collections skip them.
        gc.collect()
        gc.freeze()
        server = self.servers[0]
        _log_address("listening", server)
        if self._on_listening is not None and self.service.model is not None:
            self._on_listening(server.sockets[0].getsockname()[1], self.service.model.labels)

    async def _drain(self) -> None:
        """Become not ready, then reject new requests, then finish accepted ones."""
        service, settings = self.service, self.service.settings
        log.info("stopping", extra={"fields": {"requests": service.slots.used}})
        service.lifecycle.to(State.DRAINING, "signal")
        await asyncio.sleep(settings.drain_delay_s)
        service.lifecycle.refusing = True
        finished = asyncio.create_task(service.until_idle())
        forced = asyncio.create_task(self._force.wait())
        await asyncio.wait({finished, forced}, timeout=settings.drain_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            self.exit_code = 1
        for task in (finished, forced):
            task.cancel()


def _log_address(event: str, server: asyncio.Server) -> None:
    for bound in server.sockets:
        host, port = bound.getsockname()[:2]
        log.info(event, extra={"fields": {"host": host, "port": port, "version": __version__}})


def _config(app: Callable[..., Any], host: str, port: int, service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol_class(service),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=SOCKET_FLUSH_S,
    )


async def run(settings: Settings, on_listening: OnListening | None = None) -> int:
    """Create the service, serve until a signal and return the exit code of the process.

    Args:
        on_listening: called when the service accepts requests.
    """
    service = build(settings)
    config = _config(create_app(service), settings.host, settings.port, service)
    return await Server(config, service, on_listening).run_service()
