"""Resolves host names with the system's resolver on threads, with limits on concurrent lookups."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

LOOKUPS = 32
"""Number of threads. A lookup cannot be interrupted and may occupy a thread for half a minute."""
LOOKUPS_PER_DOMAIN = 4
"""Concurrent lookups for the names of one domain, so that a dead name server does not block other domains."""
LOOKUP_TIMEOUT_S = 5.0
"""Timeout of a lookup in seconds, including the time that it waits for a thread."""
_SHARED_LABELS = frozenset({"ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ne", "net", "or", "org"})
"""Second-level labels under which domains of different owners are registered, such as in ``co.uk``."""


class SystemResolver:
    """Resolve names with ``getaddrinfo``. All calls come from one event loop."""

    def __init__(self, timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="names")
        self._domains: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LOOKUPS_PER_DOMAIN))
        self._calls: defaultdict[str, int] = defaultdict(int)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return all IP addresses of a host name.

        Raises:
            OSError: the name has no address, or the lookup timed out (``socket.EAI_AGAIN``).
        """
        domain = registered_domain(host)
        self._calls[domain] += 1
        started = False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._domains[domain].acquire()
                started = True
                return await asyncio.wrap_future(self._start(domain, host, port))
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "the lookup took too long") from None
        finally:
            if not started:
                self._forget_call(domain)

    def _start(self, domain: str, host: str, port: int) -> Future[list[str]]:
        loop = asyncio.get_running_loop()

        def look_up() -> list[str]:
            return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        def release() -> None:
            self._domains[domain].release()
            self._forget_call(domain)

        def finished(_: Future[list[str]]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(release)

        lookup = self._threads.submit(look_up)
        lookup.add_done_callback(finished)  # not when the caller is cancelled: the thread is still occupied
        return lookup

    def _forget_call(self, domain: str) -> None:
        """Count a finished call. Delete the domain if it has no calls left."""
        self._calls[domain] -= 1
        if not self._calls[domain]:
            del self._calls[domain], self._domains[domain]


def registered_domain(host: str) -> str:
    """Return the last two labels of a name, or three if different owners share the last two, such as ``co.uk``."""
    labels = host.rstrip(".").split(".")
    shared = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SHARED_LABELS
    return ".".join(labels[-3 if shared else -2 :])
