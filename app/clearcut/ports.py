"""The ports that the service listens on: whether they are free, and the error if one is not.

``serve`` checks them first, because the service binds them while it loads the model, which takes seconds.
"""

from __future__ import annotations

import errno
import socket

from .errors import StartupError
from .settings import Settings


def require_free_ports(settings: Settings) -> None:
    """Check that the service can listen now; the ports stay free.

    Raises:
        StartupError: it cannot. The text says what to do.
    """
    if error := listen_error(settings.host, settings.port):
        raise StartupError(describe_listen_error(settings.host, settings.port, error))
    host, port = settings.metrics_host, settings.metrics_port
    if port is not None and (error := listen_error(host, port)):
        raise StartupError(describe_metrics_error(host, port, error))


def listen_error(host: str, port: int) -> OSError | None:
    """Return why a server cannot listen on ``host`` and ``port`` now, or None if it can."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
                trial.listen(1)
    except OSError as exc:
        return exc
    return None


def describe_listen_error(host: str, port: int, error: BaseException | None) -> str:
    """Return the text of an error of the main port; ``error`` is the reason."""
    advice = "; set CLEARCUT_PORT to a free port, or run `make serve PORT=8090`" if _in_use(error) else ""
    return f"cannot listen on {host}:{port}: {_reason(error)}{advice}"


def describe_metrics_error(host: str, port: int, error: BaseException) -> str:
    """Return the text of an error of the metrics port; ``error`` is the reason."""
    advice = "; set CLEARCUT_METRICS_PORT to a free port" if _in_use(error) else ""
    return f"cannot listen for metrics on {host}:{port}: {_reason(error)}{advice}"


def _in_use(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EADDRINUSE


def _reason(error: BaseException | None) -> str:
    if _in_use(error):
        return "the port is in use by another process"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
