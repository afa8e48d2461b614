"""HTTP load from threads with keep-alive sockets: closed loop (constant concurrency) and open loop (constant rate).

The open loop times each request from its scheduled start, not from the moment when a connection was free, so that a
slow server cannot hide its delays (no coordinated omission; Tene, "How NOT to measure latency", 2013). The client
does little work, because it shares the machine with the server.
"""

from __future__ import annotations

import http.client
import itertools
import queue
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to send an image."""

    host: str
    port: int
    path: str
    content_type: str = "image/jpeg"
    wrap: tuple[bytes, bytes] = (b"", b"")
    """Bytes before and after the image: the head and tail of a multipart form."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers."""


def form_target(host: str, port: int, path: str, file_field: str, fields: dict[str, str]) -> Target:
    """Return a target that takes multipart/form-data, as browsers and curl send it."""
    boundary = "benchmark0123456789"
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="{file_field}"; filename="a.jpg"\r\n'
    head += "Content-Type: image/jpeg\r\n\r\n"
    tail = f"\r\n--{boundary}--\r\n"
    return Target(host, port, path, f"multipart/form-data; boundary={boundary}", (head.encode(), tail.encode()))


@dataclass(slots=True)
class Load:
    """Results of a load."""

    seconds: float = 0.0
    client_cpu_s: float = 0.0
    """CPU time of this process, the client."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of each 200."""
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: list[tuple[float, int]] = field(default_factory=list)
    """(seconds, Retry-After) of each 503."""
    bytes_out: int = 0

    @property
    def rate(self) -> float:
        """Return the successful responses per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ranked = sorted(self.latencies)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


class _Client:
    def __init__(self, target: Target, load: Load, lock: threading.Lock) -> None:
        self._target, self._load, self._lock = target, load, lock
        self._connection: http.client.HTTPConnection | None = None

    def send(self, image: bytes, due: float | None = None) -> None:
        begun = time.perf_counter() if due is None else due
        head, tail = self._target.wrap
        body = head + image + tail
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._target.host, self._target.port, timeout=120)
            headers = {"Content-Type": self._target.content_type, **dict(self._target.headers)}
            self._connection.request("POST", self._target.path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
            status, retry = response.status, int(response.headers.get("Retry-After", 0))
            if response.will_close:
                self._connection.close()
                self._connection = None
        except (OSError, http.client.HTTPException):
            self.close()
            self._connection = None
            content, status, retry = b"", 0, 0
        seconds = time.perf_counter() - begun
        with self._lock:
            self._load.statuses[status] += 1
            if status == 200:
                self._load.latencies.append(seconds)
                self._load.bytes_out += len(content)
            elif status == 503:
                self._load.refusals.append((seconds, retry))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def closed(target: Target, images: Sequence[bytes], concurrency: int, seconds: float) -> Load:
    """Run ``concurrency`` clients. Each sends its next image after the last response, and at least one."""
    load, lock = Load(), threading.Lock()
    order = itertools.cycle(images)
    begun, cpu = time.perf_counter(), time.process_time()
    until = begun + seconds

    def work() -> None:
        client = _Client(target, load, lock)
        while True:
            with lock:
                image = next(order)
            client.send(image)
            if time.perf_counter() >= until:
                client.close()
                return

    _run([threading.Thread(target=work) for _ in range(concurrency)])
    load.seconds, load.client_cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    return load


def opened(target: Target, images: Sequence[bytes], rate: float, seconds: float, clients: int = 200) -> Load:
    """Send ``rate`` requests per second at equal intervals, over as many of ``clients`` connections as necessary."""
    load, lock = Load(), threading.Lock()
    due: queue.SimpleQueue[tuple[float, bytes] | None] = queue.SimpleQueue()
    order = itertools.cycle(images)

    def work() -> None:
        client = _Client(target, load, lock)
        while (item := due.get()) is not None:
            client.send(item[1], item[0])
        client.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    begun, cpu = time.perf_counter(), time.process_time()
    for number in range(max(1, int(rate * seconds))):
        at = begun + number / rate
        time.sleep(max(0.0, at - time.perf_counter()))
        due.put((at, next(order)))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    load.seconds, load.client_cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    return load


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
