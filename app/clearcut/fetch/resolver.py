"""Host names to IP addresses through the system's resolver, on threads, with limits on how many wait at once."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

LOOKUPS = 32
"""Threads; the resolver cannot be interrupted and may hold one for half a minute."""
LOOKUPS_PER_DOMAIN = 4
"""Of them for the names of one domain, so that its dead name server leaves the others free."""
LOOKUP_TIMEOUT_S = 5.0
_SHARED_LABELS = frozenset({"ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ne", "net", "or", "org"})
"""Second-level labels below which domains of different owners are registered, in countries such as ``co.uk``."""


class SystemResolver:
    """Resolve names with ``getaddrinfo``. All calls come from one event loop."""

    def __init__(self, timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="names")
        self._domains: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LOOKUPS_PER_DOMAIN))
        self._calls: defaultdict[str, int] = defaultdict(int)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a name.

        Raises:
            OSError: it has none, or they were not found within the timeout (``socket.EAI_AGAIN``).
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
                self._ended(domain)

    def _start(self, domain: str, host: str, port: int) -> Future[list[str]]:
        loop = asyncio.get_running_loop()

        def look_up() -> list[str]:
            return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        def release() -> None:
            self._domains[domain].release()
            self._ended(domain)

        def finished(_: Future[list[str]]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(release)

        lookup = self._threads.submit(look_up)
        lookup.add_done_callback(finished)  # not when its caller gives up: the thread is occupied until then
        return lookup

    def _ended(self, domain: str) -> None:
        """Forget a domain that has no calls left."""
        self._calls[domain] -= 1
        if not self._calls[domain]:
            del self._calls[domain], self._domains[domain]


def registered_domain(host: str) -> str:
    """The last two labels of a name, or three where different owners share two, such as ``co.uk``."""
    labels = host.rstrip(".").split(".")
    shared = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SHARED_LABELS
    return ".".join(labels[-3 if shared else -2 :])
