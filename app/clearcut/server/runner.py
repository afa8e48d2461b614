"""The server process: uvicorn, signals and the way out. With ``protocol`` the only place that knows uvicorn."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from clearcut import __version__
from clearcut.errors import StartupError
from clearcut.lifecycle import State
from clearcut.service import Service, build
from clearcut.settings import Settings
from clearcut.web.app import create_app, create_metrics_app

from .http_protocol import protocol_class

log = logging.getLogger("clearcut")

LAST_BYTES_S = 2  # accepted work is answered before uvicorn is told to stop; this is for what is left in sockets
BACKLOG = 256  # enough for a burst; a longer line would hide overload from callers and balancers


class Server(uvicorn.Server):
    """uvicorn, with a way out that load balancers can follow.

    uvicorn closes its listener first and then waits; a balancer never sees a 503 from ``/readyz``. Here the first
    SIGTERM or SIGINT only starts the drain; the listener closes when accepted work is done. A second one, or the drain
    running out of time, ends the process with exit code 1.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self.exit_code = 0
        self._leaving = asyncio.Event()
        self._forced = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would note the signal and raise it again after the shutdown: a clean exit would look like a kill.
        if self._loop is None or self._leaving.is_set():
            self.exit_code = 1
            self.force_exit = self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe((self._forced if self._leaving.is_set() else self._leaving).set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as exc:  # uvicorn's way to say that it cannot listen; its context is why
            raise StartupError(f"cannot listen on {self.config.host}:{self.config.port}: {exc.__context__}") from None
        for server in self.servers:
            _say_where("listening", server)
        if self.service.settings.metrics_port is not None:
            await self._listen_for_metrics(self.service.settings.metrics_host, self.service.settings.metrics_port)

    async def _listen_for_metrics(self, host: str, port: int) -> None:
        """Another listener with another application, and otherwise the same server: its guards, its way out."""
        config = _config(create_metrics_app(self.service), host, port, self.service)
        config.load()

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state={}
            )

        try:
            server = await asyncio.get_running_loop().create_server(protocol, host, port, backlog=BACKLOG)
        except OSError as exc:
            for each in self.servers:
                each.close()
            raise StartupError(f"cannot listen for metrics on {host}:{port}: {exc}") from None
        self.servers.append(server)
        _say_where("listening for metrics", server)

    async def run_service(self) -> int:
        """Serve until told to stop; the process's exit code."""
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self.serve())
        starting = asyncio.create_task(self.service.start())
        leaving = asyncio.create_task(self._leaving.wait())
        failed = asyncio.create_task(self.service.failed.wait())
        try:
            await asyncio.wait({serving, starting, leaving, failed}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await asyncio.wait({serving, leaving, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                self.exit_code = 1
            elif leaving.done():
                await self._drain()
        except StartupError as exc:
            print(f"clearcut: refusing to start: {exc}", file=sys.stderr)  # noqa: T201 - for the person at the console
            self.exit_code = 1
        finally:
            for task in (starting, leaving, failed):
                task.cancel()
            await self.service.stop()
            self.should_exit = True
            try:
                await serving
            finally:
                await self.service.flush_traces()
        return self.exit_code

    async def _drain(self) -> None:
        """Readiness first, then new work, then accepted work."""
        service, settings = self.service, self.service.settings
        service.lifecycle.to(State.DRAINING, "signal")
        await asyncio.sleep(settings.drain_delay_s)
        service.lifecycle.refusing = True
        finished = asyncio.create_task(service.until_idle())
        forced = asyncio.create_task(self._forced.wait())
        await asyncio.wait({finished, forced}, timeout=settings.drain_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            self.exit_code = 1
        for task in (finished, forced):
            task.cancel()


def _say_where(event: str, server: asyncio.Server) -> None:
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
        timeout_graceful_shutdown=LAST_BYTES_S,
    )


async def run(settings: Settings) -> int:
    """Build the service and serve until told to stop; the process's exit code."""
    service = build(settings)
    config = _config(create_app(service), settings.host, settings.port, service)
    return await Server(config, service).run_service()
