"""A host name that does not resolve ends a download within seconds; the system's own lookup can take a minute."""

from __future__ import annotations

import queue
import socket
import threading
import urllib.request
from urllib.parse import urlsplit

from .errors import DownloadError

LOOKUP_S = 5.0
"""Maximum time for the lookup of a host name, seconds."""


def require_resolvable(url: str, timeout_s: float = LOOKUP_S) -> None:
    """Check that the host of a URL resolves, or the host of its proxy.

    Raises:
        DownloadError: it does not resolve, or not within ``timeout_s``.
    """
    host = _connected_host(url)
    results: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: results.put(_lookup_error(host)), daemon=True).start()
    try:
        error = results.get(timeout=timeout_s)
    except queue.Empty:
        error = f"no answer within {timeout_s:g} s"
    if error:
        raise DownloadError(
            f"the host name {host} does not resolve ({error}): check the network, or set HTTPS_PROXY or "
            "CLEARCUT_MODEL_MIRROR"
        )


def _connected_host(url: str) -> str:
    """Return the host that a request connects to: that of the URL, or that of its proxy."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        return urlsplit(proxy if "//" in proxy else f"//{proxy}").hostname or host
    return host


def _lookup_error(host: str) -> str:
    try:
        socket.getaddrinfo(host, None)
    except OSError as exc:
        return exc.strerror or str(exc)
    except UnicodeError:
        return "it is not a valid name"
    return ""
