"""``python -m clearcut check --live URL``: a container's health check. Standard library only, so that it starts
fast."""

from __future__ import annotations

import http.client
import ipaddress
import os
import urllib.parse
from contextlib import suppress

LIVE_TIMEOUT_S = 3.0


def own_url() -> str:
    """Where a server with this environment listens, as seen from its own machine.

    Reads only the two variables it needs: a full validation would import what the service itself does.
    """
    host = os.environ.get("CLEARCUT_HOST") or "127.0.0.1"
    with suppress(ValueError):  # a name
        listening = ipaddress.ip_address(host)
        if listening.is_unspecified:
            host = "127.0.0.1" if listening.version == 4 else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{os.environ.get('CLEARCUT_PORT') or 8080}"


def check_health(url: str, timeout_s: float = LIVE_TIMEOUT_S) -> tuple[bool, str]:
    """Ask a server whether it should be kept; (whether it said 200, one line about it).

    Args:
        url: http or https; without a path ``/livez`` is asked.
        timeout_s: for the connection and for each read, seconds.
    """
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in kinds or not parts.hostname:
            return False, f"{url}: not an address such as http://127.0.0.1:8080"
        connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout_s)
    except ValueError as exc:
        return False, f"{url}: {exc}"
    path = parts.path if parts.path not in ("", "/") else "/livez"
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read(4096)
    except (OSError, ValueError, http.client.HTTPException) as exc:  # ValueError: a name or a path that is none
        return False, f"{path}: {exc or type(exc).__name__}"
    finally:
        connection.close()
    return answer.status == 200, f"{path}: {answer.status}"
