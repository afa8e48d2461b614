"""Start-up checks of addresses, ports, URLs of images and traces."""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
from collections.abc import Iterator

from clearcut.errors import StartupError
from clearcut.fetch.policy import fetch_policy
from clearcut.ports import describe_listen_error, describe_metrics_error, listen_error
from clearcut.service import NO_FETCH_CLIENT, NO_TRACER
from clearcut.settings import Settings

from .findings import Finding


def check_public_access(settings: Settings) -> Iterator[Finding]:
    """A public address needs API keys or an explicit permission."""
    if not (settings.allow_anonymous or settings.database_url or is_loopback(settings.host)):
        raise StartupError(
            f"CLEARCUT_HOST={settings.host} is reachable from other machines and no API keys are configured. Set "
            "CLEARCUT_DATABASE_URL and create keys (clearcut keys create NAME), or set "
            "CLEARCUT_ALLOW_ANONYMOUS=true to serve all clients that can reach it, or listen on 127.0.0.1"
        )
    yield from ()


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is an address or the name of this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_ports(settings: Settings) -> Iterator[Finding]:
    """The ports must be free."""
    yield _check_port("port", settings.host, settings.port)
    if settings.metrics_port is not None:
        if settings.metrics_port == settings.port != 0:
            text = f"CLEARCUT_METRICS_PORT={settings.metrics_port} is also CLEARCUT_PORT"
            yield Finding("error", "metrics", text)
        else:
            yield _check_port("metrics", settings.metrics_host, settings.metrics_port)


def _check_port(topic: str, host: str, port: int) -> Finding:
    if error := listen_error(host, port):
        describe = describe_metrics_error if topic == "metrics" else describe_listen_error
        return Finding("error", topic, describe(host, port, error))
    return Finding("ok", topic, f"{host}:{port} is free" if port else f"{host}, with a port selected at start")


def check_fetch(settings: Settings) -> Iterator[Finding]:
    """The rules for URLs must be valid, and the HTTP client installed if URLs are enabled."""
    policy = fetch_policy(settings)
    if not settings.fetch:
        return
    if importlib.util.find_spec("httpcore2") is None:
        raise StartupError(NO_FETCH_CLIENT)
    others = "no other hosts" if policy.only_allowed else "the public internet"
    yield Finding("ok", "fetch", f"image URLs from {len(policy.allow)} allowed hosts and networks and {others}")


def check_traces(settings: Settings) -> Iterator[Finding]:
    """The exporter must be installed. The collector is not contacted: the service also runs without it."""
    if not settings.otel_endpoint:
        return
    try:
        importlib.import_module("clearcut.observability.tracing")
    except ModuleNotFoundError:
        raise StartupError(NO_TRACER) from None
    yield Finding("ok", "traces", f"{settings.otel_sample:.0%} of the requests without a sampling decision")
