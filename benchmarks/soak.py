"""Stability under 1.5 times the maximum load for half an hour.

The capacity is measured first (closed loop, until the rate of successful responses no longer depends on the clients).
Then requests arrive at ``--factor`` times that rate at random moments (exponential gaps): photos of 0.3 to 12
megapixels as JPEG, progressive JPEG, PNG and WebP, with several options. Every few seconds the benchmark records
resident memory, descriptors, threads, CPU time, successful responses and refusals. Verdicts are ratios of the last
third of the run to its first third, so that the machine's speed does not matter. Successful responses are also
counted per second of the server's CPU time, because other processes may use the machine.

A refusal must be fast. Its Retry-After should match the time in which the requests in progress were answered, which
is calculated from the responses that followed.

Run: ``python -m benchmarks.soak [--minutes 30] [--factor 1.5] [--seed 7]``; writes results/soak.json and soak.png.
"""

from __future__ import annotations

import argparse
import bisect
import http.client
import queue
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import mixed_cases, mixed_load, report, soak_plot
from tests.support import samples
from tests.support.live_server import Server, served
from tests.support.raw_http import RawConnection, request

MEGAPIXELS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
WEIGHTS = (12, 12, 12, 12, 10, 10, 8, 8, 4, 2, 1)
"""Frequency of each size: mostly web images, sometimes camera files."""
TARGETS = ("/v1/remove?size=medium&format=webp", "/v1/remove?format=jpg", "/v1/remove?size=medium", "/v1/remove")
CLIENTS = 250


@dataclass(slots=True)
class Seen:
    """Results of the clients. Times are seconds since the load began."""

    good: list[tuple[float, float]] = field(default_factory=list)
    """(response time, latency) of each 200."""
    refused: list[tuple[float, float, int]] = field(default_factory=list)
    """(response time, latency, Retry-After) of each 503. A missing header is 0."""
    statuses: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class Sample:
    at: float
    rss_mib: float
    descriptors: int
    threads: int
    cpu_s: float
    slots_used: float
    connections: int


def encoded(megapixels: Sequence[float]) -> list[bytes]:
    """Return a photo of each size, with alternating encodings."""
    made = []
    for number, size in enumerate(megapixels):
        small = samples.photo(samples.PHOTOS[number % len(samples.PHOTOS)])
        scale = (size * 1e6 / (small.shape[0] * small.shape[1])) ** 0.5
        pixels = samples.photo(
            samples.PHOTOS[number % len(samples.PHOTOS)], round(small.shape[1] * scale), round(small.shape[0] * scale)
        )
        encoding = ("jpeg", "jpeg-progressive", "webp", "png")[number % 4] if size < 5 else "jpeg"
        made.append(mixed_cases.encode(pixels, encoding))
    return made


class Load:
    """Clients with keep-alive connections, and their results."""

    def __init__(self, server: Server, clients: int, begun: float) -> None:
        self.seen = Seen()
        self._server = server
        self._begun = begun
        self._due: queue.SimpleQueue[tuple[bytes, float] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def put(self, message: bytes, due: float) -> None:
        self._due.put((message, due))

    def finish(self) -> None:
        for _ in self._threads:
            self._due.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        connection: RawConnection | None = None
        while (item := self._due.get()) is not None:
            connection = self._send(connection, *item)
        if connection is not None:
            connection.socket.close()

    def _send(self, connection: RawConnection | None, message: bytes, due: float) -> RawConnection | None:
        status, retry, keep = "no answer", 0, False
        # The server may have closed a kept connection as idle, so retry once as browsers do.
        for fresh in (False, True):
            reused = connection is not None and not fresh
            try:
                if not reused:
                    connection = RawConnection(self._server.port, 120)
                assert connection is not None
                connection.send(message)
                answer = connection.read_response()
                status, retry = str(answer.status), int(answer.headers.get("retry-after", 0))
                keep = answer.headers.get("connection", "").lower() != "close"
                break
            except (OSError, http.client.HTTPException) as exc:
                status = f"no answer: {type(exc).__name__}"
                if connection is not None:
                    connection.socket.close()
                if not reused:
                    break
        now = time.perf_counter()
        with self.seen.lock:
            self.seen.statuses[status] += 1
            if status == "200":
                self.seen.good.append((now - self._begun, now - due))
            elif status == "503":
                self.seen.refused.append((now - self._begun, now - due, retry))
        if keep:
            return connection
        if connection is not None:
            connection.socket.close()
        return None


def choose(rng: random.Random, images: Sequence[bytes], weights: Sequence[float]) -> bytes:
    return request(rng.choices(images, weights)[0], "image/*", rng.choice(TARGETS))


def saturation(
    server: Server, images: Sequence[bytes], weights: Sequence[float], seconds: float, seed: int, clients: int
) -> float:
    """Return the successful responses per second of clients that always have another request."""
    begun = time.perf_counter()
    load = Load(server, clients, begun)
    rng = random.Random(seed)
    while time.perf_counter() - begun < seconds:
        if load._due.qsize() < clients:
            load.put(choose(rng, images, weights), time.perf_counter())
        else:
            time.sleep(0.005)
    load.finish()
    took = time.perf_counter() - begun
    assert set(load.seen.statuses) == {"200"}, load.seen.statuses
    return len(load.seen.good) / took


class Sampler:
    def __init__(self, server: Server, begun: float, every_s: float) -> None:
        self.samples: list[Sample] = []
        self._server, self._begun, self._every_s = server, begun, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        process = self._server.process_info
        while True:
            used = mixed_load.metrics(self._server)["clearcut_slots_used"]
            with process.oneshot():
                cpu = process.cpu_times()
                rss, threads = process.memory_info().rss, process.num_threads()
            connections = len(process.net_connections("tcp"))
            self.samples.append(
                Sample(
                    round(time.perf_counter() - self._begun, 1), round(rss / 2**20, 1), process.num_fds(), threads,
                    round(cpu.user + cpu.system, 2), used, connections,
                )
            )  # fmt: skip
            if self._stop.wait(self._every_s):
                return

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def soak(
    server: Server,
    images: Sequence[bytes],
    weights: Sequence[float],
    seconds: float,
    *,
    factor: float = 1.5,
    measure_s: float = 60.0,
    measure_clients: int = 8,
    every_s: float = 5.0,
    seed: int = 7,
    clients: int = CLIENTS,
) -> dict[str, Any]:
    saturated = saturation(server, images, weights, measure_s, seed, measure_clients)
    before = mixed_load.footprint(server)
    rng = random.Random(seed + 1)
    begun = due = time.perf_counter()
    load = Load(server, clients, begun)
    with Sampler(server, begun, every_s) as sampler:
        while due - begun < seconds:
            due += rng.expovariate(factor * saturated)
            time.sleep(max(0.0, due - time.perf_counter()))
            load.put(choose(rng, images, weights), due)
        ended = time.perf_counter() - begun
    load.finish()
    after = mixed_load.footprint(server)
    capacity = mixed_load.metrics(server)["clearcut_slots"]
    return {
        "seconds": round(ended, 1),
        "saturation_per_s": round(saturated, 2),
        "offered_per_s": round(factor * saturated, 2),
        "answers": dict(load.seen.statuses),
        "thirds": [_third(load.seen, sampler.samples, ended, part) for part in range(3)],
        "refusals": _refusals(load.seen, int(capacity)),
        "at_rest": {
            "descriptors": [before.descriptors, after.descriptors],
            "threads": [before.threads, after.threads],
            "rss_mib": [before.rss_mib, after.rss_mib],
        },
        "course": [
            [each.at, each.rss_mib, each.descriptors - each.connections, each.threads, each.slots_used, *counts]
            for each, counts in zip(sampler.samples, _counts(load.seen, sampler.samples), strict=True)
        ],
        "course_columns": [
            "s", "rss_mib", "descriptors without connections", "threads", "slots used", "good since", "refused since",
        ],
    }  # fmt: skip


def _third(seen: Seen, course: Sequence[Sample], ended: float, part: int) -> dict[str, float]:
    low, high = ended * part / 3, ended * (part + 1) / 3
    inside = [each for each in course if low <= each.at < high] or list(course)
    good = [latency for at, latency in seen.good if low <= at < high]
    refused = [latency for at, latency, _ in seen.refused if low <= at < high]
    cpu = inside[-1].cpu_s - inside[0].cpu_s
    within = sum(1 for at, _ in seen.good if inside[0].at <= at < inside[-1].at)
    return {
        "rss_mib": statistics.median(each.rss_mib for each in inside),
        "rss_mib_max": max(each.rss_mib for each in inside),
        "descriptors": statistics.median(each.descriptors - each.connections for each in inside),
        "connections": statistics.median(each.connections for each in inside),
        "threads": statistics.median(each.threads for each in inside),
        "good_per_s": round(len(good) / (high - low), 3),
        "good_per_cpu_s": round(within / cpu, 3) if cpu else 0.0,
        "good_p50_s": _share(good, 0.5),
        "good_p95_s": _share(good, 0.95),
        "refused_p50_ms": round(_share(refused, 0.5) * 1e3, 1),
        "refused_p95_ms": round(_share(refused, 0.95) * 1e3, 1),
    }


def _share(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 4) if ranked else 0.0


def _refusals(seen: Seen, capacity: int) -> dict[str, Any]:
    """Return how fast refusals were, and Retry-After relative to the time until ``capacity`` responses were sent."""
    answered = sorted(at for at, _ in seen.good)
    ratios, waits = [], []
    for at, _, retry in seen.refused:
        later = bisect.bisect_right(answered, at) + capacity - 1
        if later < len(answered):
            waits.append(answered[later] - at)
            ratios.append(retry / waits[-1])
    latencies = [latency for _, latency, _ in seen.refused]
    return {
        "count": len(seen.refused),
        "without_retry_after": sum(1 for _, _, retry in seen.refused if retry < 1),
        "ms_p50": round(_share(latencies, 0.5) * 1e3, 1),
        "ms_p95": round(_share(latencies, 0.95) * 1e3, 1),
        "ms_max": round(max(latencies, default=0.0) * 1e3, 1),
        "retry_after_s_p50": _share([retry for _, _, retry in seen.refused], 0.5),
        "house_emptied_in_s_p50": round(_share(waits, 0.5), 2),
        "retry_after_over_that": [round(_share(ratios, share), 2) for share in (0.05, 0.5, 0.95)],
    }


def _counts(seen: Seen, course: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return (successful, refused) responses since the previous sample."""
    good, refused = sorted(at for at, _ in seen.good), sorted(at for at, _, _ in seen.refused)
    counts, last = [], (0, 0)
    for each in course:
        now = bisect.bisect(good, each.at), bisect.bisect(refused, each.at)
        counts.append((now[0] - last[0], now[1] - last[1]))
        last = now
    return counts


def verdicts(result: dict[str, Any]) -> dict[str, float]:
    """Return the last third over the first third. 1 is stable."""
    first, _, last = result["thirds"]
    names = ("rss_mib", "rss_mib_max", "descriptors", "threads", "good_per_s", "good_per_cpu_s", "refused_p95_ms")
    return {name: round(last[name] / first[name], 3) if first[name] else 1.0 for name in names}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--factor", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    machine = report.machine()
    images = encoded(MEGAPIXELS)
    with served() as server:
        result = soak(server, images, WEIGHTS, args.minutes * 60, factor=args.factor, seed=args.seed)
    ratios = verdicts(result)
    report.write(
        "soak",
        "stability for half an hour at 1.5 times the capacity",
        f"python -m benchmarks.soak --minutes {args.minutes:g} --factor {args.factor:g} --seed {args.seed}",
        machine,
        {"note": "clients and server share the machine, which others used meanwhile", "ratios": ratios, **result},
    )
    soak_plot.write(result, report.RESULTS / "soak.png")
    for name in ("saturation_per_s", "offered_per_s", "answers", "thirds", "refusals", "at_rest"):
        print(f"{name:<20}{result[name]}")
    print(f"{'last third / first':<20}{ratios}")
    unexpected = {status: count for status, count in result["answers"].items() if status not in ("200", "503")}
    print(f"{'neither 200 nor 503':<20}{unexpected or 'none'}")
    return 1 if unexpected else 0


if __name__ == "__main__":
    raise SystemExit(main())
