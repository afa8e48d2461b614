"""``clearcut health [URL]``: the health check of a container. ``clearcut check --live`` is its former name.

This module imports no library outside the standard library, so that the command starts fast.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import urllib.parse
from contextlib import suppress
from typing import TYPE_CHECKING

from .terminal import print_output

if TYPE_CHECKING:
    from .parser import Commands

TIMEOUT_S = 3.0


def add_commands(commands: Commands) -> None:
    """Add ``health`` to the command line."""
    health = commands.add_parser("health", help="report whether a running server is healthy")
    health.add_argument(
        "live", metavar="URL", nargs="?", default="", help="of the server (default: the server with this environment)"
    )
    health.add_argument("--timeout", type=float, metavar="S", help=f"seconds (default: {TIMEOUT_S:g})")


def run(url: str, timeout_s: float | None) -> int:
    """Print the health of a running server and return the exit code: 0 if it is healthy.

    Args:
        url: of the server; empty selects the server with the settings of this environment.
        timeout_s: seconds; None selects ``TIMEOUT_S``.
    """
    tried = url or local_url()
    alive, text = check_health(tried, TIMEOUT_S if timeout_s is None else timeout_s)
    if not alive and not url:
        text += f" (tried {tried}; set CLEARCUT_HOST and CLEARCUT_PORT as for the server, or: clearcut health URL)"
    elif not alive and tried not in text:
        text += f" ({tried})"
    print_output(text, flush=True)
    return 0 if alive else 1


def local_url() -> str:
    """Return the URL of the server with this environment, for requests from the same machine.

    Reads only the two variables it needs: validating all settings would import the modules of the service.
    """
    return reachable_url(os.environ.get("CLEARCUT_HOST") or "127.0.0.1", os.environ.get("CLEARCUT_PORT") or 8080)


def reachable_url(host: str, port: int | str) -> str:
    """Return the URL of a server that listens on ``host``, for requests from the same machine."""
    with suppress(ValueError):  # a host name
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def check_health(url: str, timeout_s: float = TIMEOUT_S) -> tuple[bool, str]:
    """Request a health route of a server.

    Args:
        url: http or https. Without a path, ``/livez`` is requested.
        timeout_s: timeout of the connection and of each read, seconds.

    Returns:
        Whether the status is 200; one line that describes the result.
    """
    connection_types = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in connection_types or not parts.hostname:
            return False, f"{url}: expected a URL such as http://127.0.0.1:8080"
        connection = connection_types[parts.scheme](parts.hostname, parts.port, timeout=timeout_s)
    except ValueError as exc:
        return False, f"{url}: {exc}"
    path = parts.path if parts.path not in ("", "/") else "/livez"
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        response.read(4096)
    except (OSError, ValueError, http.client.HTTPException) as exc:  # ValueError: an invalid host or path
        return False, f"{path}: {exc or type(exc).__name__}"
    finally:
        connection.close()
    return response.status == 200, f"{path}: {response.status}"
