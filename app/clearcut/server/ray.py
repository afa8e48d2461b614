"""The service on Ray Serve: ``serve run clearcut.server.ray:app``.

Each replica is one service with its own model and batcher. It runs the same ASGI application as ``clearcut serve``.
Ray's proxy receives the connections, so the limits of ``http_protocol`` on slow and malformed requests do not apply.
Put a reverse proxy in front.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve

from clearcut.environment import load_settings
from clearcut.errors import StartupError
from clearcut.lifecycle import State
from clearcut.observability import logging
from clearcut.service import Service, build
from clearcut.web.app import create_app

ONGOING_PER_CPU = 4
"""Requests in progress per CPU that keep a replica busy; a further replica starts above this (docs/ray.md)."""
OPEN_TO_EVERYONE = (
    "Ray Serve accepts requests from other machines. Set CLEARCUT_DATABASE_URL to require API keys, "
    "or CLEARCUT_ALLOW_ANONYMOUS=true"
)
_POLL_S = 0.5
"""Interval of checks whether Ray is connected, and of calls that announce a drain, seconds."""

_DELETE_S = 10
"""Time that Ray needs to remove an application after its requests, seconds."""


class Arguments(BaseModel):
    """Arguments of ``serve run clearcut.server.ray:app NAME=VALUE``; in a Serve config, ``args``."""

    model_config = ConfigDict(extra="forbid")

    min_replicas: int = Field(1, ge=0, description="Minimum number of replicas.")
    max_replicas: int = Field(1, ge=1, description="Maximum number of replicas.")
    cpus: int = Field(1, ge=1, description="CPUs of a replica, which are the threads of its model and codecs.")
    gpus: float = Field(0, ge=0, description="GPUs of a replica; a fraction lets replicas share a GPU.")
    target_ongoing_requests: float = Field(0, ge=0, description="Requests in progress per replica; 0: 4 per CPU.")
    upscale_delay_s: float = Field(10, ge=0, description="Seconds above the target before a replica is added.")
    downscale_delay_s: float = Field(300, ge=0, description="Seconds below the target before a replica is removed.")


class ServedApp:
    """An ASGI application that starts its service at the first lifespan event and stops it at the last one."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._app = create_app(service)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":

            async def send_bytes(message: Any) -> None:
                # Ray pickles messages, and cannot pickle memory views.
                if "body" in message:
                    message = {**message, "body": bytes(message["body"])}
                await send(message)

            await self._app(scope, receive, send_bytes)
            return
        await receive()
        try:
            await self.service.start()
        except StartupError as exc:
            await send({"type": "lifespan.startup.failed", "message": f"refusing to start: {exc}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def stop(self) -> None:
        """Finish the accepted requests and end the service."""
        service = self.service
        if service.lifecycle.state is State.STOPPED:
            return
        service.lifecycle.to(State.DRAINING, "replica stops")
        service.lifecycle.refusing = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(service.until_idle(), service.settings.drain_timeout_s)
        await service.stop()
        await service.flush_traces()


def served_app(arguments: Arguments) -> ServedApp:
    """Return the application of a replica, from the environment's settings.

    The number of threads is that of the replica's CPUs, so that replicas on one machine do not oversubscribe it.

    Raises:
        StartupError: a setting is invalid, or the service would be open to everyone without a setting that says so.
    """
    settings = load_settings()
    if not settings.database_url and not settings.allow_anonymous:
        raise StartupError(OPEN_TO_EVERYONE)
    threads: dict[str, object] = {"workers": settings.workers or arguments.cpus}
    if not arguments.gpus:
        threads |= {"lanes": settings.lanes or 1, "intra_op_threads": settings.intra_op_threads or arguments.cpus}
    logging.configure(settings.log_level, settings.log_format)
    return ServedApp(build(settings.model_copy(update=threads)))


def app(values: Mapping[str, str]) -> serve.Application:
    """Return the Serve application.

    Args:
        values: the fields of ``Arguments``.

    Raises:
        StartupError: a setting or an argument is invalid.
    """
    settings = load_settings()
    try:
        arguments = Arguments.model_validate(values)
    except ValidationError as exc:
        raise StartupError("; ".join(f"{error['loc'][0]}: {error['msg']}" for error in exc.errors())) from None
    _drain_at_sigterm(settings.drain_delay_s, settings.drain_timeout_s + settings.drain_delay_s)

    class Clearcut(serve.ingress(lambda: served_app(arguments))()):  # type: ignore[misc]  # created by Ray
        """A replica."""

        async def check_health(self) -> None:
            """Raise if the replica must be replaced."""
            service = self._asgi_app.service
            if not service.alive:
                raise RuntimeError(f"the service has failed: {service.lifecycle.why}")

        async def begin_drain(self) -> None:
            """Make ``/readyz`` return 503. Requests are still accepted."""
            self._asgi_app.service.lifecycle.to(State.DRAINING, "signal")

    deployment = serve.deployment(
        Clearcut,
        name="clearcut",
        ray_actor_options={"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
        # The service rejects requests above its own limit with 503 and Retry-After.
        max_ongoing_requests=2 * settings.slots,
        autoscaling_config={
            "min_replicas": arguments.min_replicas,
            "max_replicas": arguments.max_replicas,
            "target_ongoing_requests": arguments.target_ongoing_requests or ONGOING_PER_CPU * arguments.cpus,
            "upscale_delay_s": arguments.upscale_delay_s,
            "downscale_delay_s": arguments.downscale_delay_s,
        },
        graceful_shutdown_timeout_s=settings.drain_timeout_s + settings.drain_delay_s,
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=5,
        health_check_timeout_s=30,
    )
    return deployment.bind()


def _drain_at_sigterm(delay_s: float, drain_s: float) -> None:
    """Let SIGTERM end ``serve run`` like Ctrl-C, after the requests in progress.

    ``serve run`` connects to Ray after it has called ``app``, and the connection installs a handler that ends the
    process at once. A timer replaces that handler afterwards.

    Args:
        delay_s: time after SIGTERM while ``/readyz`` returns 503 but requests are accepted, seconds.
        drain_s: maximum time for the requests in progress, seconds.
    """
    in_task = ray.is_initialized() or threading.current_thread() is not threading.main_thread()
    if in_task or not hasattr(signal, "SIGALRM"):
        return  # a task of a cluster creates the application, not ``serve run``; or this is Windows

    def drain(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second signal ends the process at once
        names = list(serve.status().applications)
        _announce_drain(names, delay_s)
        for name in names:
            serve.delete(name, _blocking=False)
        end = time.monotonic() + drain_s + _DELETE_S
        while serve.status().applications and time.monotonic() < end:
            time.sleep(_POLL_S)
        raise KeyboardInterrupt

    def install(number: int, frame: object) -> None:
        if ray.is_initialized():
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGTERM, drain)

    signal.signal(signal.SIGALRM, install)
    signal.setitimer(signal.ITIMER_REAL, _POLL_S, _POLL_S)


def _announce_drain(names: Sequence[str], delay_s: float) -> None:
    """Let ``/readyz`` of all replicas return 503 for some time, so that a load balancer sends no further requests."""
    end = time.monotonic() + delay_s
    while (remaining := end - time.monotonic()) > 0:
        for name in names:  # again and again, because a replica may have been added
            with contextlib.suppress(Exception):  # a replica ends at the same time
                serve.get_app_handle(name).broadcast("begin_drain").results(timeout_s=remaining)
        time.sleep(min(_POLL_S, remaining))
